"""Colour maps of plots: recognising them, and colours back to values. Never colours to gray.

JPEG keeps luminance fine and colour coarse (half resolution, strong quantisation), so colours are compared in YCbCr
with chroma counted less: luminance says where along the map, chroma only on which branch.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np

#: Maps that are recognised, by their matplotlib names (parula: MATLAB's, since R2017a and before); those of a plot in
#: the field come first.
COLORMAPS = ("jet", "parula", "parula2014", "turbo", "viridis", "plasma", "inferno", "magma", "hot")
#: MATLAB's default maps at equal steps, as plots show them; linear in between.
_PARULA = {
    "parula": "3e26a8 4332cb 4741e5 4852f4 4563fd 3875fe 2e87f7 2797eb 20a5e3 12b1d6 02bac3 "
    "24c1ae 37c897 57cc7a 81cc59 abc739 d1bf27 f0ba36 fec338 fad62d f5e924 f9fb15",
    "parula2014": "352a87 353dad 2053d4 0268e1 0d75dc 1481d6 108ed2 079ccf 06a7c6 0faeb9 25b5a9 "
    "42bb98 65be86 87bf77 a5be6b c0bc60 d9ba56 f1b94a ffc337 fad32a f5e41d f9fb0e",
}
#: Weight of Cb and Cr against Y. JPEG's own tables quantise chroma about three times as coarsely as luminance.
CHROMA_WEIGHT = 0.35
#: A picture is on a map when its mean distance to it is below this (levels of 255) ...
MAX_RESIDUAL = 22.0
#: ... and it uses at least this share of the map, so that a plain surface or a blue sky is no plot.
MIN_RANGE = 0.25
_LEVELS = 256
#: Pixels looked at to recognise a map.
_SAMPLE = 8_000
#: Colours whose distances to all levels are computed at a time.
_BLOCK = 512
#: ITU-T T.871 (JFIF) RGB to Y, Cb, Cr (without the offset of 128).
YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_WEIGHTED = YCBCR.T * np.array([1, CHROMA_WEIGHT, CHROMA_WEIGHT])


def detect_colormap(*pictures: np.ndarray) -> str | None:
    """The map in `COLORMAPS` whose colours `pictures` (uint8 [H, W, 3]) show; None: photographs, plain surfaces."""
    most = _SAMPLE // len(pictures)
    sample = np.concatenate([p.reshape(-1, 3)[:: max(1, p[..., 0].size // most)] for p in pictures])
    residuals = {name: _match(sample, name) for name in COLORMAPS}
    best = min(residuals, key=lambda name: residuals[name][1].mean())
    values, distances = residuals[best]
    used = np.ptp(np.percentile(values, [1, 99]))
    return best if distances.mean() < MAX_RESIDUAL and used >= MIN_RANGE else None


def invert_colormap(pixels: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """Colours [H, W, 3] (0..255, also averages over cells) to values float32 [H, W] in 0..1, and the mean residual.

    The residual is the mean RGB distance (levels of 255, each rounded) between the colours and those of the values
    found.
    """
    colours = (pixels if pixels.dtype == np.uint8 else np.rint(pixels).astype(np.uint8)).reshape(-1, 3)
    entries = _memo(name).look_up(colours)
    values = (entries & 0xFF) * np.float32(1 / (_LEVELS - 1))
    return values.reshape(pixels.shape[:2]), float((entries >> 8).mean()) - 1


@cache
def map_colours(name: str) -> np.ndarray:
    """float [levels, 3]: RGB colours (0..255) of a map."""
    points = np.linspace(0, 1, _LEVELS)
    if name in _PARULA:
        anchors = np.array([list(bytes.fromhex(colour)) for colour in _PARULA[name].split()], float)
        return np.stack([np.interp(points, np.linspace(0, 1, len(anchors)), c) for c in anchors.T], axis=1)
    import matplotlib

    return matplotlib.colormaps[name](points)[:, :3] * 255


def _match(colours: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (0..1) of the nearest map colours to `colours` [N, 3], and the RGB distances to them."""
    index = _nearest(colours, name)
    return index / (_LEVELS - 1), np.linalg.norm(colours - map_colours(name)[index], axis=1)


def _nearest(colours: np.ndarray, name: str) -> np.ndarray:
    """int [N]: the level of a map whose weighted YCbCr colour is nearest to `colours` [N, 3] (0..255)."""
    extended = np.ones((len(colours), 4))
    extended[:, :3] = colours
    return np.concatenate([(part @ _closeness(name)).argmax(1) for part in _blocks(extended)])


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[i : i + _BLOCK] for i in range(0, len(rows), _BLOCK)]


@cache
def _closeness(name: str) -> np.ndarray:
    """float [4, levels]: times a colour and a 1, the greater the nearer: |p - q|^2 is least where p.q - |q|^2 / 2 is
    greatest."""
    levels = map_colours(name) @ _WEIGHTED
    return np.vstack([_WEIGHTED @ levels.T, -0.5 * (levels**2).sum(1)])


class _Memo:
    """What is known of every colour (24 bits) met so far: most pictures of a set share their colours.

    entries: its level in the low byte, its rounded residual (at most 254) and 1 in the high byte; 0: never met.
    """

    def __init__(self, name: str) -> None:
        self.name, self.entries = name, np.zeros(1 << 24, np.uint16)

    def look_up(self, colours: np.ndarray) -> np.ndarray:
        """The entries, uint16 [N], of `colours`, uint8 [N, 3]."""
        one_more = np.append(colours, np.uint8(0))  # the fourth byte of a code is the next one's first, and masked
        codes = np.ndarray(len(colours), "<u4", one_more, strides=(3,)) & 0xFFFFFF
        found = self.entries.take(codes)
        if not found.all():
            new = np.flatnonzero(found == 0)
            found[new] = self.entries[codes[new]] = self._entries(colours[new])
        return found

    def _entries(self, colours: np.ndarray) -> np.ndarray:
        levels = _nearest(colours, self.name)
        residuals = np.linalg.norm(colours - map_colours(self.name)[levels], axis=1)
        return (levels + 256 * (1 + np.rint(residuals).clip(0, 254).astype(int))).astype(np.uint16)


@lru_cache(maxsize=1)
def _memo(name: str) -> _Memo:
    return _Memo(name)
