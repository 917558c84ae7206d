"""From the rows of a study to a table people can believe: accuracies, paired gains with intervals, and a figure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from validation.study.arms import BASELINES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTING = ["classifier", "view", "recordings", "windows"]
DRAWS = 2000
CHOSEN = (
    "In brackets: the gain over the best arm without a generator, and its 95 % interval. That arm was chosen on the "
    "same test windows, which makes gains rather too small; the interval does not draw this choice anew."
)


def summarise(results: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """One row per setting and arm: accuracy (mean over seeds and newcomers) and its deviation over seeds; gain over the
    best arm without a generator with its 95 % interval (seeds and newcomers drawn with replacement), and the share of
    that arm's error that is left."""
    rng = np.random.default_rng(seed)
    rows = []
    for named, group in _settings(results):
        table = group.pivot_table(index=["seed", "user"], columns="arm", values="accuracy", sort=False)
        baseline = table[[arm for arm in BASELINES if arm in table]].mean().idxmax()
        for arm in dict.fromkeys(group["arm"]):
            gain = (table[arm] - table[baseline]).dropna()
            low, high = paired_interval(gain, rng)
            left = (1 - table[arm].mean()) / max(1 - table[baseline].mean(), 1e-9)
            by_seed = table[arm].groupby(level="seed").mean()
            rows.append(
                named | {
                    "arm": arm, "accuracy": table[arm].mean(), "deviation": by_seed.std(ddof=0), "seeds": len(by_seed),
                    "baseline": baseline, "gain": gain.mean(), "gain_low": low, "gain_high": high, "error_left": left,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def _settings(results: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    for setting in sorted(set(results[SETTING].itertuples(index=False, name=None))):
        mine = np.logical_and.reduce([results[name] == value for name, value in zip(SETTING, setting, strict=True)])
        yield dict(zip(SETTING, setting, strict=True)), results[mine]


def paired_interval(gain: pd.Series, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the mean of `gain`, index (seed, user): seeds and users are both drawn with replacement."""
    table = gain.unstack("user").to_numpy()  # (seeds, users)
    seeds = rng.integers(table.shape[0], size=(DRAWS, table.shape[0]))
    users = rng.integers(table.shape[1], size=(DRAWS, table.shape[1]))
    means = [np.nanmean(table[np.ix_(s, u)]) if np.isfinite(table[np.ix_(s, u)]).any() else np.nan
             for s, u in zip(seeds, users, strict=True)]  # fmt: skip
    low, high = np.nanquantile(means, [0.025, 0.975])
    return float(low), float(high)


def write_summary(out: Path) -> pd.DataFrame:
    """summary.csv, made.csv, lacking.csv, summary.md and accuracy.png in `out`, from what a study wrote there."""
    table = summarise(pd.read_csv(out / "results.csv", dtype={"user": str}, keep_default_na=False))
    made = means(pd.read_csv(out / "diagnosis.csv"), ["recordings", "windows", "made"])
    lacking = means(pd.read_csv(out / "limits.csv"), ["recordings", "windows", "centre", "spread"])
    for name, rows in (("summary", table), ("made", made), ("lacking", lacking)):
        rows.round(4).to_csv(out / f"{name}.csv", index=False)
    parts = [markdown(table), "## What the windows made are like", "", plain(made), "", "## What is lacking", ""]
    (out / "summary.md").write_text("\n".join([*parts, plain(lacking), ""]), encoding="utf-8")
    draw(table).savefig(out / "accuracy.png", dpi=150, bbox_inches="tight")
    return table


def means(table: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Means over seeds, and the number of these."""
    groups = table.groupby(key, sort=False)
    found = groups.mean(numeric_only=True).drop(columns="seed").assign(seeds=groups["seed"].nunique())
    return found.reset_index().sort_values(key[:2], kind="stable")


def plain(table: pd.DataFrame) -> str:
    """Markdown of a table of names and numbers."""
    cells = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row] for row in table.itertuples(index=False)]
    lines = [list(table.columns), ["---"] * len(table.columns), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown(table: pd.DataFrame) -> str:
    """One table per classifier and view: an arm per row, a setting per column."""
    lines = ["# Do generated windows help to identify people from few recordings?", "", CHOSEN, ""]
    for classifier, view in dict.fromkeys(zip(table["classifier"], table["view"], strict=True)):
        group = table[(table["classifier"] == classifier) & (table["view"] == view)]
        settings = list(dict.fromkeys(zip(group["recordings"], group["windows"], strict=True)))
        heads = [f"{r} recording{'s' * (r > 1)}, {w} windows" for r, w in settings]
        lines += [
            f"## {classifier}, {view}",
            "",
            "| arm | " + " | ".join(heads) + " |",
            "|---" * (1 + len(heads)) + "|",
        ]
        for arm, rows in group.groupby("arm", sort=False):
            found = rows.set_index(["recordings", "windows"])
            cells = [_cell(found.loc[setting]) if setting in found.index else "" for setting in settings]
            lines.append(f"| {arm} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def draw(table: pd.DataFrame) -> Figure:
    """Accuracy by recordings, a line per arm, a panel per classifier, as recorded."""
    from matplotlib.figure import Figure

    table = table[table["view"] == table["view"].iloc[0]]
    names = list(dict.fromkeys(table["classifier"]))
    figure = Figure(figsize=(4.2 * len(names), 3.6))
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        part = table[table["classifier"] == name]
        part = part[part["windows"] == part["windows"].max()]
        for place, (arm, rows) in enumerate(part.groupby("arm", sort=False)):
            style = "--" if arm in BASELINES else "-"
            beside = rows["recordings"] + 0.06 * (place - (part["arm"].nunique() - 1) / 2)
            axis.errorbar(beside, rows["accuracy"], rows["deviation"], fmt=f"o{style}", capsize=2, label=arm)
        axis.set(title=name, xlabel="recordings per newcomer", xticks=sorted(set(part["recordings"])))
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("accuracy on unseen recordings")
    axes[0][-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _cell(row: pd.Series) -> str:
    said = f"{row['accuracy']:.3f} ± {row['deviation']:.3f}"
    if row["gain"] == row["gain_low"] == row["gain_high"] == 0:
        return said
    return f"{said} ({row['gain']:+.3f}, {row['gain_low']:+.3f} to {row['gain_high']:+.3f})"
