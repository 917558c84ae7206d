"""A family of known alterations of spectrograms, as pure functions, for detectors to learn from and for benchmarks.

Each takes images [N, C, H, W] in [-1, 1] (row 0 = highest velocity, columns = time) and a random generator, and returns
new images of the same shape and range; row i of the result is an alteration of row i.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter1d, map_coordinates

Alteration = Callable[[np.ndarray, np.random.Generator], np.ndarray]

SCALE = 1.15  #: by which cadence and Doppler are stretched: a gait no longer the user's, still a gait
ZERO_ROWS = (0.5, 0.9)  #: where zero velocity may be, of the height from the top
LEVELS = 16
JPEG_QUALITY = 20


def time_reversed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The last column first."""
    return images[..., ::-1].copy()


def doppler_flipped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Approaching becomes receding."""
    return images[..., ::-1, :].copy()


def cadence_slower(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Time stretched by 15 % about a random column."""
    return _resampled(images, -1, 1 / SCALE, (0, 1), rng)


def cadence_faster(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Time compressed by 15 %; what is missing at the sides is the picture's mirror image."""
    return _resampled(images, -1, SCALE, (0, 1), rng)


def doppler_wider(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Doppler stretched by 15 % about a row of the lower half, where zero velocity is in pictures of an approach."""
    return _resampled(images, -2, 1 / SCALE, ZERO_ROWS, rng)


def doppler_narrower(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Doppler compressed by 15 % about a row of the lower half; the new rows at the edges repeat the outermost."""
    return _resampled(images, -2, SCALE, ZERO_ROWS, rng, mode="nearest")


def blurred_in_time(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian of one column."""
    return gaussian_filter1d(images, 1.0, axis=-1)


def blurred_in_doppler(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian of one row."""
    return gaussian_filter1d(images, 1.0, axis=-2)


def sharpened(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unsharp mask: what a Gaussian of one pixel takes away, added once more."""
    smooth = gaussian_filter1d(gaussian_filter1d(images, 1.0, axis=-1), 1.0, axis=-2)
    return (2 * images - smooth).clip(-1, 1)


def quantised(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """16 levels from -1 to 1."""
    return (np.round((images + 1) / 2 * (LEVELS - 1)) / (LEVELS - 1) * 2 - 1).astype(images.dtype)


def noisy(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White noise of standard deviation 0.1."""
    return (images + 0.1 * rng.standard_normal(images.shape, np.float32)).clip(-1, 1)


def floor_raised(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whatever lies below a level a tenth of the range above the floor is lifted to it."""
    return np.maximum(images, _floor(images) + 0.2)


def floor_clipped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A threshold a fifth of the range above the floor, below which everything is floor."""
    floor = _floor(images)
    return np.where(images < floor + 0.4, floor, images)


def gain_lowered(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Levels above the floor at 85 %."""
    floor = _floor(images)
    return floor + 0.85 * (images - floor)


def extremities_erased(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The fastest fifth of each picture's energy on either side of its middle velocity (feet, hands) becomes floor."""
    energy = (images - _floor(images)).clip(0).sum(axis=(1, 3))  # (N, H)
    share = np.cumsum(energy, axis=1) / np.maximum(energy.sum(axis=1, keepdims=True), 1e-9)
    outside = (share < 0.15) | (share > 0.97)
    return np.where(outside[:, None, :, None], np.minimum(images, _floor(images)), images)


def columns_shuffled(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Columns of each picture in random order."""
    return _columns_reordered(images, rng.random((len(images), images.shape[-1])).argsort(axis=1))


def columns_jittered(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Columns in almost the right order: each moves by at most some three places."""
    width = images.shape[-1]
    return _columns_reordered(images, (np.arange(width) + rng.uniform(0, 4, (len(images), width))).argsort(axis=1))


def columns_frozen(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A quarter of the columns, in one stretch, repeat the column before."""
    width = images.shape[-1]
    start = rng.integers(1, width - width // 4, (len(images), 1))
    columns = np.arange(width)
    frozen = (columns >= start) & (columns < start + width // 4)
    return _columns_reordered(images, np.where(frozen, start, columns))


def rows_shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All velocities higher by a sixteenth of the axis; the lowest row is repeated."""
    height = images.shape[-2]
    return images[..., np.minimum(np.arange(height) + max(1, height // 16), height - 1), :]


def wrapped_in_time(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rolled by a random number of columns, which leaves a seam."""
    width = images.shape[-1]
    shift = rng.integers(width // 5, width - width // 5, (len(images), 1))
    return _columns_reordered(images, (np.arange(width) + shift) % width)


def repeated(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A stretch of a quarter to a half of the picture is shown twice, the second time over what came after it."""
    width = images.shape[-1]
    length, columns = rng.integers(width // 4, width // 2 + 1, (len(images), 1)), np.arange(width)
    start = rng.integers(length, width - length + 1)
    again = (columns >= start) & (columns < start + length)
    return _columns_reordered(images, columns - np.where(again, length, 0))


def mirrored(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What comes after the middle is the first half backwards."""
    width = images.shape[-1]
    return images[..., np.minimum(np.arange(width), np.arange(width)[::-1])]


def spliced(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The right half of the next picture beside the left half of this one."""
    half = images.shape[-1] // 2
    return np.concatenate([images[..., :half], np.roll(images, -1, axis=0)[..., half:]], axis=-1)


def averaged(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mean of this picture and the next."""
    return (images + np.roll(images, -1, axis=0)) / 2


def checkered(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A checkerboard of amplitude 0.06, as transposed convolutions leave it."""
    board = np.indices(images.shape[-2:]).sum(axis=0) % 2 * 2 - 1
    return (images + 0.06 * board.astype(np.float32)).clip(-1, 1)


def jpeg_compressed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Through a JPEG file of quality 20, each channel as a gray picture."""
    return np.stack([[_through_jpeg(channel) for channel in image] for image in images])


#: Name, as the report says it -> alteration. Those that take a neighbour expect neighbouring rows to be of one user.
ALTERATIONS: Mapping[str, Alteration] = {
    f.__name__.replace("_", " "): f
    for f in (
        time_reversed, doppler_flipped, cadence_slower, cadence_faster, doppler_wider, doppler_narrower, rows_shifted,
        blurred_in_time, blurred_in_doppler, sharpened, quantised, noisy, floor_raised, floor_clipped, gain_lowered,
        extremities_erased, columns_shuffled, columns_jittered, columns_frozen, wrapped_in_time, repeated, mirrored,
        spliced, averaged, checkered, jpeg_compressed,
    )
}  # fmt: skip


def tolerated(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The small imperfections any generator has, on three of five pictures: up to half a blur of 0.6 pixels (or some
    sharpening), 3 % of gain, grain of up to 0.1 at full level, noise of 0.03, a floor off by 0.02."""

    def drawn(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (len(images), 1, 1, 1)).astype(np.float32)

    made = images
    for axis in (-1, -2):
        made = made + drawn(-0.25, 0.5) * (gaussian_filter1d(images, 0.6, axis=axis) - images)
    made = 1 - (1 - made) * drawn(0.97, 1.03)
    made = made + drawn(0, 0.1) * (made + 1) / 2 * rng.standard_normal(images.shape, np.float32)
    made = made + drawn(0, 0.03) * rng.standard_normal(images.shape, np.float32) + drawn(-0.02, 0.02)
    return np.where(rng.random((len(images), 1, 1, 1)) < 0.6, made.clip(-1, 1), images)


def _resampled(
    images: np.ndarray,
    axis: int,
    step: float,
    centres: tuple[float, float],
    rng: np.random.Generator,
    mode: str = "mirror",
) -> np.ndarray:
    """Values `step` times as far from a centre drawn between `centres` (0 to 1) along `axis`; half of the pictures by
    linear interpolation and half by the nearest pixel: what all have in common is the scale, not a loss of detail."""
    moved = np.moveaxis(images, axis, -1)
    lines, length = moved.reshape(len(images), -1, moved.shape[-1]), moved.shape[-1]
    centre = (length - 1) * rng.uniform(*centres, len(images))
    order = rng.integers(0, 2, len(images))
    made = np.empty_like(lines)
    for i, picture in enumerate(lines):
        place = centre[i] + step * (np.arange(length) - centre[i])
        grid = np.meshgrid(np.arange(len(picture)), place, indexing="ij")
        made[i] = map_coordinates(picture, grid, order=order[i], mode=mode)
    return np.moveaxis(made.reshape(moved.shape), -1, axis)


def _columns_reordered(images: np.ndarray, order: np.ndarray) -> np.ndarray:
    """order: int [N, W], the column of the input at each column of the output."""
    return np.take_along_axis(images, np.broadcast_to(order[:, None, None, :], images.shape), axis=-1)


def _floor(images: np.ndarray) -> np.ndarray:
    """Level of the quietest parts: the 10 % quantile of each picture, [N, 1, 1, 1]."""
    return np.quantile(images, 0.10, axis=(1, 2, 3), keepdims=True).astype(images.dtype)


def _through_jpeg(channel: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(np.round((channel + 1) * 127.5).astype(np.uint8)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(buffer), np.float32) / 127.5 - 1
