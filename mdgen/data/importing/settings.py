"""What a user can say about an import; everything else is found out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from mdgen.config import Section
from mdgen.data.colormaps import COLORMAPS
from mdgen.data.splits import DEFAULT_FRACTIONS

ScaleName = Literal["auto", "signed", "unit", "gray", "db", "amplitude", "power"]
OrientationName = Literal["auto", "keep", "flip", "transpose", "transpose-flip"]


Storage = Literal["files", "stack"]


class ImportSettings(Section):
    """Options of `mdgen import`. "auto" and None mean: find out from the data."""

    size: int | None = Field(64, ge=8, le=1024, description="rows and columns; None keeps the files' own")
    only: str | None = Field(None, description="files whose path fits this shell pattern, e.g. '*.png'")
    user_from_name: str | None = Field(None, description="regular expression, or the name of a preset")
    array: str | None = Field(None, description="shell pattern of the arrays to take inside .mat, .npz and HDF5")
    labels: str | None = Field(None, description="array inside the file that names each spectrogram's user")
    colormap: str = Field("auto", description="of plots: to be inverted; gray; rgb keeps three channels")
    crop: bool = Field(True, description="cut axes and white borders off pictures of plots")
    scale: ScaleName = "auto"
    dynamic_range_db: float = Field(40.0, ge=5, le=200, description="what [-1, 1] spans, below each array's peak")
    orientation: OrientationName = "auto"
    session_length: int | None = Field(None, ge=1)
    recording_length: int | None = Field(None, ge=1)
    fractions: dict[str, float] = DEFAULT_FRACTIONS
    storage: Storage = Field("files", description="a file for each picture, or one .npy stack of all")
    on_error: Literal["stop", "skip"] = "stop"
    workers: int = Field(1, ge=1, le=256)
    seed: int = Field(0, ge=0)

    @field_validator("colormap")
    @classmethod
    def _known(cls, name: str) -> str:
        known = ("auto", "gray", "rgb", *COLORMAPS)
        if name not in known:
            raise ValueError(f"{name!r} is none of {', '.join(known)}")
        return name
