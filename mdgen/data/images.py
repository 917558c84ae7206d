"""Single pictures: reading them safely and exactly, writing them without loss. Never turns colours into gray."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mdgen.errors import MdgenError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".npy")
MAX_SIDE = 4096
#: What is ever handed to a decoder: Pillow knows many more formats, some of which run other programs.
_CONTAINERS = ("PNG", "JPEG", "TIFF", "BMP")
_ORIENTATION_TAG = 274


def read_pixels(file: str | Path) -> np.ndarray:
    """The stored pixels: uint8 or uint16 [H, W] for gray, float32 [H, W] for float TIFF, uint8 [H, W, 3] for colour.

    Raises `MdgenError` for what is missing, broken, too large, CMYK, transparent, animated or rotated by a tag.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_CONTAINERS) as picture:
                _check(picture, file)
                if _is_transparent(picture):
                    raise MdgenError(f"{file}: has transparent pixels; save it without transparency")
                if picture.mode in ("L", "I", "F") or picture.mode.startswith("I;16"):
                    return _gray(np.asarray(picture), file)
                pixels = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))
    except FileNotFoundError as error:
        raise MdgenError(f"{file}: is missing; restore it or take its row out of the manifest") from error
    except UnidentifiedImageError as error:
        raise MdgenError(f"{file}: is not a PNG, JPEG, TIFF or BMP picture; replace or remove it") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise MdgenError(f"{file}: cannot be decoded ({error}); replace or remove it") from error
    return pixels[..., 0] if _is_gray(pixels[:: len(pixels) // 8 or 1]) and _is_gray(pixels) else pixels


def read_picture(file: Path) -> np.ndarray:
    """float32 [C, H, W] in [-1, 1]; C = 1 for gray (8 or 16 bits), 3 for colour; from a picture or floats in `.npy`."""
    if file.suffix.lower() == ".npy":
        return _read_npy(file)
    pixels = read_pixels(file)
    if pixels.dtype == np.float32:
        raise MdgenError(f"{file}: is a TIFF of floats; bring it in with `mdgen import`")
    scale = 65535 if pixels.dtype == np.uint16 else 255
    image = pixels.astype(np.float32) * (2 / scale) - 1
    return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)


def check_values(images: np.ndarray, file: Path) -> None:
    """Raise `MdgenError` where a number that was read from `file` is not finite or lies outside [-1, 1]."""
    if not np.isfinite(images).all():
        raise MdgenError(f"{file}: holds NaN or infinite values; repair or remove it")
    low, high = images.min(), images.max()
    if low < -1.001 or high > 1.001:
        raise MdgenError(f"{file}: values lie in [{low:.3g}, {high:.3g}]; scale dB linearly to [-1, 1] (floor, peak)")


def write_png16(file: Path, image: np.ndarray) -> None:
    """Write float [H, W] in [-1, 1] as a 16-bit gray PNG (step 3e-5)."""
    write_png(file, np.round((np.clip(image, -1, 1) + 1) * (65535 / 2)).astype(np.uint16))


def write_png(file: str | Path, levels: np.ndarray) -> None:
    """Write gray levels, uint8 or uint16 [H, W], without loss (PNG, third edition, W3C 2025).

    Speckle hardly compresses, nor do filters help: unfiltered rows whose runs alone are shortened take less than half
    the time of Pillow's adaptive filters, and no more room.
    """
    height, width = levels.shape
    rows = np.zeros((height, 1 + width * levels.itemsize), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = np.ascontiguousarray(levels, levels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    header = struct.pack(">IIBBBBB", width, height, 8 * levels.itemsize, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", packer.compress(rows) + packer.flush()), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    with open(file, "wb") as stream:
        stream.write(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def _read_npy(file: Path) -> np.ndarray:
    try:
        image = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise MdgenError(f"{file}: cannot be read as a numeric .npy array; write it anew without objects") from error
    if image.ndim == 2:
        image = image[None]
    if image.ndim != 3 or image.shape[0] not in (1, 3) or not np.issubdtype(image.dtype, np.floating):
        raise MdgenError(f"{file}: has shape {image.shape} of {image.dtype}; need floats [H, W] or [C, H, W]")
    check_values(image, file)
    return image.astype(np.float32)


def _is_transparent(picture: Image.Image) -> bool:
    """Whether any pixel is: by an alpha channel, a palette's, or a gray level or colour that stands for transparent."""
    if picture.mode in ("RGBA", "P", "LA", "PA"):
        return bool(np.asarray(picture.convert("RGBA"))[..., 3].min() < 255)
    key = picture.info.get("transparency")
    return key is not None and bool(np.all(np.atleast_3d(np.asarray(picture)) == key, axis=2).any())


def _check(picture: Image.Image, file: str | Path) -> None:
    """Raise for what must not be decoded, from the header alone."""
    width, height = picture.size
    if max(width, height) > MAX_SIDE:
        raise MdgenError(f"{file}: is {width}x{height}; at most {MAX_SIDE} a side is read")
    if picture.mode == "CMYK":
        raise MdgenError(f"{file}: is a CMYK picture; save it as gray or RGB")
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        raise MdgenError(f"{file}: holds {frames} pictures; save the one that is meant")
    if "exif" in picture.info and picture.getexif().get(_ORIENTATION_TAG, 1) != 1:
        raise MdgenError(f"{file}: is to be shown rotated (EXIF); save it upright")


def _is_gray(pixels: np.ndarray) -> bool:
    """Whether the three channels are equal."""
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())


def _gray(pixels: np.ndarray, file: str | Path) -> np.ndarray:
    if pixels.dtype in (np.uint8, np.float32):
        return pixels
    if pixels.min() < 0 or pixels.max() > 65535:
        raise MdgenError(f"{file}: 32-bit gray values outside 0..65535; save it as 8 or 16 bits")
    return pixels.astype(np.uint16)
