"""How like a real recording are simulated walkers, before and after their fit? MMRGait-1.0: one person, eight views.

    python -m benchmarks.calibration --mmrgait SOURCE

fits axes, floor, clutter and body echoes on half of the views and measures on the others, writing
`benchmarks/results/calibration.json`. Two distances are taken between the pictures of each view and of simulated
walkers of that view: of spectrum shape (level quantiles of each row, dB) and of motion (the judge's kinematic vector:
mean over quantities of the Wasserstein distance, in standard deviations of the simulated walkers). Half a minute.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy
from scipy.io import loadmat
from scipy.stats import wasserstein_distance

from mdgen.data.dataset import SpectrogramSet, make_table
from mdgen.data.simulator import RadarSettings, make_scene, simulate
from mdgen.data.simulator.like import Likeness, fit_likeness, level_distance
from mdgen.data.simulator.scene import Conditions
from validation.measures.kinematics import measure
from validation.measures.scales import QUANTITIES, scales_of

SEED = 0
SIDE, RANGE_DB, FIRST_ROW, ZERO_ROW = 128, 50.0, 24, 103.5  # of the cut pictures
STARTS = (0, 30, 60, 90, 118)  # columns at which windows are cut from the 246 of a view
FITTED_VIEWS, HELD_OUT_VIEWS = (0, 45, 315), (30, 60, 330, 300)
WALKERS = 10
RESULT = Path(__file__).parent / "results" / "calibration.json"


def real_views(folder: Path, views: tuple[int, ...]) -> SpectrogramSet:
    """Windows of 128 x 128 native cells, each in dB below its own peak."""
    images, names = [], []
    for view in views:
        decibel = loadmat(folder / f"001-NM-01-{view:03d}.MAT")["tfmap"][FIRST_ROW : FIRST_ROW + SIDE]
        for start in STARTS:
            window = decibel[:, start : start + SIDE]
            images.append(np.clip(1 + (window - window.max()) * 2 / RANGE_DB, -1, 1))
            names.append(f"{view:03d}")
    table = make_table(user=["001"] * len(names)).assign(view=names, db_min=-RANGE_DB, db_max=0.0)
    return SpectrogramSet(np.array(images, np.float32)[:, None], table, "MMRGait")


def distances(real: SpectrogramSet, radar: RadarSettings, conditions: Conditions) -> dict[str, dict[str, float]]:
    """Both distances for each view of `real`."""
    found = {}
    for view in sorted(set(real.table["view"])):
        rows = real.select((real.table["view"] == view).to_numpy())
        scene = make_scene(("walk",), (int(view),), radar=radar, conditions=conditions)
        made = simulate(WALKERS, 1, 2, SIDE, SEED + 1, scene=scene, fractions={"train": 1.0})
        axes = {name: made.table[name].iloc[0] for name in ("velocity_min_mps", "velocity_max_mps", "duration_s")}
        rows = replace(rows, table=rows.table.assign(**axes))
        found[view] = {
            "spectrum_shape_db": level_distance(rows.images[:, 0], made.images[:, 0], RANGE_DB),
            "kinematic_vector": kinematic_distance(rows, made),
        }
    return found


def kinematic_distance(real: SpectrogramSet, made: SpectrogramSet) -> float:
    values = [measure(data.images, scales_of(data)) for data in (real, made)]
    apart = []
    for name in QUANTITIES:
        a, b = (table[name].dropna().to_numpy() for table in values)
        if len(a) >= 3 and len(b) >= 3 and b.std() > 0:
            apart.append(min(wasserstein_distance(a, b) / b.std(), 10.0))
    return float(np.mean(apart))


def stages(fit: Likeness) -> dict[str, tuple[RadarSettings, Conditions]]:
    """The simulator as it comes, with the fitted axes alone, and with everything fitted."""
    usual = RadarSettings()
    axes = {n: getattr(fit.radar, n) for n in ("velocity_min_mps", "velocity_max_mps", "duration_s", "prf_hz")}
    return {
        "default": (replace(usual, dynamic_range_db=RANGE_DB), Conditions()),
        "axes": (replace(usual, dynamic_range_db=RANGE_DB, **axes), Conditions()),
        "fitted": (fit.radar, fit.conditions),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mmrgait", type=Path, required=True, help="folder of the MMRGait .MAT files")
    folder = parser.parse_args().mmrgait
    fit = fit_likeness(real_views(folder, FITTED_VIEWS), SEED)
    radar = fit.radar
    row_mps = (radar.velocity_max_mps - radar.velocity_min_mps) / SIDE
    report: dict[str, object] = {
        "fit": fit.lines,
        "zero_row": {"true": ZERO_ROW, "fitted": radar.velocity_max_mps / row_mps},
    }
    for name, views in (("fitted_views", FITTED_VIEWS), ("held_out_views", HELD_OUT_VIEWS)):
        real, part = real_views(folder, views), {}
        for stage, (settings, conditions) in stages(fit).items():
            found = distances(real, settings, conditions)
            mean = {key: float(np.mean([value[key] for value in found.values()])) for key in next(iter(found.values()))}
            part[stage] = {"mean": mean, "views": found}
        report[name] = part
    report |= {
        "seed": SEED,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(_rounded(report), indent=2) + "\n")
    print(RESULT.read_text(), end="")


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
