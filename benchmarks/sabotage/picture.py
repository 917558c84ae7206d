"""The same motion in worse or treacherous pictures: images [N, C, H, W] and material in, images out."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, median_filter, zoom

from mdgen.data.dataset import SpectrogramSet
from sabotage.material import Material


def blurred(images: np.ndarray, m: Material) -> np.ndarray:
    return gaussian_filter(images, (0, 0, 0.7, 0.7))


def despeckled(images: np.ndarray, m: Material) -> np.ndarray:
    return median_filter(images, (1, 1, 3, 3))


def coarse(images: np.ndarray, m: Material) -> np.ndarray:
    """Half the resolution, interpolated back."""
    height, width = images.shape[-2:]
    small = images.reshape(*images.shape[:2], height // 2, 2, width // 2, 2).mean(axis=(3, 5))
    return zoom(small, (1, 1, 2, 2), order=1, grid_mode=True, mode="nearest")


def sixteen_levels(images: np.ndarray, m: Material) -> np.ndarray:
    return np.round((images + 1) * 7.5) / 7.5 - 1


def jpeg(images: np.ndarray, m: Material) -> np.ndarray:
    return np.stack([[_jpeg(channel) for channel in image] for image in images])


def _jpeg(channel: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(((channel + 1) * 127.5).round().astype(np.uint8)).save(buffer, "JPEG", quality=15)
    return np.asarray(Image.open(buffer), np.float32) / 127.5 - 1


def floor_shifted(images: np.ndarray, m: Material) -> np.ndarray:
    """The floor a tenth of the range higher, the peak where it was."""
    return images + 0.1 * (1 - images)


def brighter(images: np.ndarray, m: Material) -> np.ndarray:
    return 0.85 * images + 0.12


def watermarked(images: np.ndarray, m: Material) -> np.ndarray:
    """A faint tile in one corner, the same in all pictures."""
    mark = np.zeros(images.shape[-2:], np.float32)
    mark[2:8, 2:8] = 0.2 * (np.indices((6, 6)).sum(axis=0) % 2)
    return images + mark


def barred(images: np.ndarray, m: Material) -> np.ndarray:
    """Every fourth row a little brighter, as a decoder's seams."""
    return images + 0.06 * (np.arange(images.shape[-2]) % 4 == 0)[:, None].astype(np.float32)


def adversarial(images: np.ndarray, m: Material) -> np.ndarray:
    """Other people's pictures, changed by at most 0.06 so that the report's own judges see the user they are said to be
    (projected gradient descent: Madry et al. 2018)."""
    epsilon, steps = 0.06, 20
    target = torch.tensor([list(m.judges[0].classes_).index(u) for u in m.honest.table["user"]])
    start = torch.from_numpy(images[_rows_of_next_user(m.honest)])
    changed = start.clone()
    networks = [judge.net_.module_.eval() for judge in m.judges]
    for _ in range(steps):
        changed.requires_grad_(True)
        loss = sum(torch.nn.functional.cross_entropy(network(changed), target) for network in networks)
        (slope,) = torch.autograd.grad(loss, changed)
        moved = changed.detach() - 2.5 * epsilon / steps * slope.sign()
        changed = moved.clamp(start - epsilon, start + epsilon).clamp(-1, 1)
    return changed.numpy()


def _rows_of_next_user(data: SpectrogramSet) -> np.ndarray:
    """int [N]: for every row one of the next user, each used about equally often."""
    users, names = data.table["user"].to_numpy(), data.users
    rows = {user: np.flatnonzero(users == user) for user in names}
    following = dict(zip(names, [*names[1:], names[0]], strict=True))
    place = {user: iter(np.resize(rows[following[user]], len(rows[user]))) for user in names}
    return np.array([next(place[user]) for user in users])
