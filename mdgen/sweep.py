"""Choosing a guidance scale: what it gains in identity and costs in variety, as whoever judges sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet
from mdgen.figures import save_lines
from mdgen.generate import generate
from mdgen.progress import Progress

#: A judge's view of a synthetic set: named numbers, among them `accuracy` and `diversity`, both better when larger.
Opinion = Callable[[SpectrogramSet], Mapping[str, float]]


def guidance_sweep(
    run: Path,
    settings: GenerateConfig,
    scales: Sequence[float],
    opinion: Opinion,
    out: Path,
    *,
    intervals: Sequence[tuple[float, float]] = ((0.0, 1.0),),
    real: Mapping[str, float] | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """A row for each scale and interval, also as `guidance.csv` and `guidance.png` in `out`.

    All are made from the same noises. real: the same numbers for real data, drawn as the height to reach.
    """
    rows = []
    for low, high in intervals:
        for scale in scales:
            changed = {"guidance_scale": scale, "guidance_interval": (low, high)}
            made = generate(run, settings.model_copy(update=changed), seed=seed, device=device, progress=progress)
            rows.append({"guidance_scale": scale, "interval": f"{low:g} to {high:g}", **opinion(made)})
    table = pd.DataFrame(rows)
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / "guidance.csv", index=False)
    groups = {f"guided from {name}": part for name, part in table.groupby("interval", sort=False)}
    save_lines(
        {name: (part["diversity"].tolist(), part["accuracy"].tolist()) for name, part in groups.items()},
        ("diversity", "accuracy"),
        out / "guidance.png",
        notes={name: [f"{scale:g}" for scale in part["guidance_scale"]] for name, part in groups.items()},
        level=(real["accuracy"], "real") if real else None,
    )
    return table
