"""The data card: what `mdgen inspect` shows of a data set, in the terminal and as one self-contained page.

The counting is `mdgen.data.inspect`'s and the plan `mdgen.data.advice`'s; here the judge's measurements of the real set
alone join them: motion per user, shortcuts, and which gates of a later validation the set is big enough for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mdgen.data.advice import RECIPE_FILE, Plan, make_plan, write_plan
from mdgen.data.dataset import ROLES, SpectrogramSet
from mdgen.data.folders import atomic_folder, require_free
from mdgen.data.inspect import Inspection, describe_lines, inspect
from mdgen.data.splits import assign_roles
from mdgen.errors import MdgenError
from mdgen.figures import MAX_USERS, contact_sheet
from validation.blocks import diversity, shortcuts, usefulness
from validation.measures.copies import ENOUGH as COPY_WINDOWS
from validation.measures.kinematics import measure
from validation.measures.motion_distance import MIN_WINDOWS
from validation.measures.scales import QUANTITIES, scales_of
from validation.networks.background_model import RealBackground
from validation.networks.judge import Judge
from validation.report.page import Picture, render
from validation.results import FAIL, INCONCLUSIVE, PASS
from validation.rules import shipped_rules
from validation.sets import ENOUGH_IMAGES, judges_role, session_units

CARD_FILE = "card.html"
MOTION = (
    "torso_velocity", "torso_swing", "upper_envelope", "lower_envelope", "bandwidth", "foot_to_torso", "step_period",
    "stride_period", "noise_floor", "dynamic_range", "continuity",
)  # fmt: skip
#: Windows of every user on the page of samples, and steps of the judge whose accuracy shortcuts are compared with.
SAMPLES, JUDGE_STEPS = 8, 150
MOST_PAIRS = 30


@dataclass(frozen=True)
class Card:
    """motion: one row per user. shortcut: sentences. gates: columns gate, status, needs, has."""

    inspection: Inspection
    plan: Plan
    motion: pd.DataFrame
    shortcut: list[str]
    gates: pd.DataFrame


def data_card(data: SpectrogramSet, out: Path | None, seed: int, say: Callable[[str], None]) -> Card:
    """Print the card of `data`; with `out`, also write card.html, fingerprint.json, plan.md and recipe.yaml there."""
    if out is not None:
        require_free(out)
    say("comparing all pairs of windows")
    found = inspect(data, seed)
    say("measuring motion and shortcuts")
    plan = make_plan(found.fingerprint)
    card = Card(found, plan, motion_per_user(data), shortcut_check(data, seed), gate_sizes(data, found))
    print("\n".join(card_lines(data, card)))
    if out is not None:
        write_card(data, card, out)
        print(f"card: {out / CARD_FILE}")
        print(f"train with: mdgen train-vae --data {data.name} --run RUN --config {out / RECIPE_FILE}")
    return card


def card_lines(data: SpectrogramSet, card: Card) -> list[str]:
    """The card as text."""
    found, facts = card.inspection, card.inspection.fingerprint
    axes = ", ".join(f"{name} {value:g}" for name, value in facts.axes.items()) or "not given"
    shared = found.shared
    return [
        *describe_lines(data),
        f"axes: {axes}",
        f"about {facts.independent} independent windows; {shared.count(kind='identical')} identical pairs, "
        f"{shared.count(kind='copy')} of the same moment, {shared.count(kind='overlap')} that overlap "
        f"({len(shared.searched)} windows compared)",
        *_titled("windows by user and role", found.roles),
        *_titled("windows by user and session", found.counts.filter(items=list(found.counts)[:12])),
        *_titled("levels, -1 floor to 1 peak", found.levels.round(3)),
        *_titled("motion, mean of each user", card.motion.round(3)),
        *_titled("big enough for", card.gates.set_index("gate")),
        *card.shortcut,
        *(f"warning: {warning}" for warning in found.warnings),
        *(f"recommended: {d.key} = {d.value} ({d.reason})" for d in (*card.plan.preparation, *card.plan.settings)),
    ]


def motion_per_user(data: SpectrogramSet) -> pd.DataFrame:
    """Mean of each of `MOTION` over a user's windows, index user; the columns name their units.

    periodic: share of the windows in which a step period is measurable.
    """
    scales = scales_of(data)
    windows = measure(data.images, scales)[list(MOTION)]
    by_user = windows.assign(periodic=windows["step_period"].notna()).groupby(data.table["user"].to_numpy())
    values = by_user.mean().loc[data.users]
    units = {name: scales.unit_name(name) for name in MOTION}
    labels = {name: QUANTITIES[name].label + (f" ({unit})" if unit else "") for name, unit in units.items()}
    return values.rename(columns=labels).dropna(axis=1, how="all").rename_axis("user")


def shortcut_check(data: SpectrogramSet, seed: int) -> list[str]:
    """How well held-out windows are recognised by background alone, and by a small judge of everything."""
    try:
        roles = data if set(data.table["split"]) & set(ROLES) else _with_roles(data, seed)
    except MdgenError as error:
        return [f"shortcuts: not measured ({error})"]
    learn, test = roles.role(judges_role(roles.table["split"])), roles.role("test")
    users = [user for user in learn.users if user in set(test.users)]
    enough = len(learn) >= shortcuts.MIN_LEARN and len(test) >= shortcuts.MIN_TEST and len(users) > 1
    if not enough or min(data.images.shape[-2:]) < shortcuts.MIN_SIDE:
        return [f"shortcuts: not measured ({len(learn)} windows to learn from, {len(test)} held out are too few)"]
    learn, rows = (part.of_users(users) for part in (learn, roles.role(*ROLES)))
    background = float(RealBackground(learn, rows, seed).test.mean())
    judge = Judge(seed=seed, steps=JUDGE_STEPS).fit(learn.images, learn.table["user"].to_numpy())
    test = test.of_users(users)
    right = pd.Series(judge.predict(test.images) == test.table["user"].to_numpy())
    accuracy = float(right.groupby(test.table["user"].to_numpy()).mean().mean())
    rule = shipped_rules()["shortcuts"]
    warnings = shortcuts.dataset_warnings(background, accuracy, 1 / len(users), rule, rows.table)
    return [
        f"held-out windows recognised by a small judge: {accuracy:.0%}, by background alone: {background:.0%}, "
        f"by chance: {1 / len(users):.0%}",
        *(f"warning: {warning}" for warning in warnings),
    ]


def gate_sizes(data: SpectrogramSet, found: Inspection) -> pd.DataFrame:
    """Which gates of `mdgen validate` such a real set can decide: columns gate, status, needs, has."""
    facts, counts, rules = found.fingerprint, found.roles, shipped_rules()
    per_user = {role: int(counts[role].min()) if role in counts else 0 for role in ROLES}
    total = {role: int(counts[role].sum()) if role in counts else 0 for role in ROLES}
    judge = judges_role(data.table["split"])
    units = (
        pd.Series(session_units(data.table)).groupby([data.table["user"].to_numpy(), session_units(data.table)]).size()
    )
    pairs = int((units >= MIN_WINDOWS).groupby(level=0).sum().max())
    new = round(per_user["train"] * facts.independent / facts.windows)
    few, images = int(rules["augmentation_gain"]["few_windows"]), int(rules["fid"]["min_images"])
    rows = [
        _size("user_accuracy", ENOUGH_IMAGES, per_user["test"], "held-out windows of every user"),
        _size("verification", ENOUGH_IMAGES, per_user["test"], "held-out windows of every user"),
        _size("tstr", usefulness.FEWEST, per_user["train"], "training windows of every user"),
        _size("augmentation_gain", few, per_user["train"], "training windows of every user"),
        _size("memorisation", COPY_WINDOWS, new, "training windows of every user that do not overlap"),
        _size("diversity", diversity.FEWEST, per_user["train"], "training windows of every user"),
        _size("kinematics", 2, pairs, f"sessions or recordings of {MIN_WINDOWS} windows, of some user"),
        _size("shortcuts", shortcuts.MIN_LEARN, total[judge], f"windows in role {judge}"),
        _size("alterations", shortcuts.MIN_LEARN, total[judge], f"windows in role {judge}"),
        _size("fid", images, total["test"], "held-out windows"),
    ]
    return pd.DataFrame(rows, columns=["gate", "status", "needs", "has"])


def write_card(data: SpectrogramSet, card: Card, out: Path) -> None:
    """card.html, fingerprint.json, plan.md and recipe.yaml in the new folder `out`; all of it or nothing."""
    pairs = card.inspection.shared.pairs
    pairs = pairs.assign(suspicious=pairs["other_user"] | pairs["other_role"] | (pairs["kind"] == "identical"))
    shown = pairs.sort_values(["suspicious", "correlation"], ascending=False).head(MOST_PAIRS)
    files = data.table["file"].to_numpy()
    with atomic_folder(out) as folder:
        write_plan(card.inspection.fingerprint, card.plan, folder)
        page = render(
            "card.html.j2",
            name=data.name,
            lines=describe_lines(data),
            facts=card.inspection.fingerprint,
            counts=card.inspection.counts.reset_index(names="user"),
            roles=card.inspection.roles.reset_index(names="user"),
            levels=card.inspection.levels.reset_index(),
            shared=card.inspection.shared,
            pairs=shown.assign(first=files[shown["first"].astype(int)], second=files[shown["second"].astype(int)]),
            warnings=[*card.inspection.warnings, *(w for w in card.shortcut[1:])],
            shortcut=card.shortcut[0],
            motion=card.motion.reset_index(),
            gates=card.gates,
            plan=pd.DataFrame([*card.plan.preparation, *card.plan.settings]),
            base=card.plan.base,
            recipe=card.plan.recipe_text(),
            pictures=sample_pages(data),
        )
        (folder / CARD_FILE).write_text(page, encoding="utf-8")


def sample_pages(data: SpectrogramSet) -> list[Picture]:
    """Windows from all over each user's rows, a dozen users to a picture."""
    pages = []
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, len(data.users), MAX_USERS):
            users, file = data.users[start : start + MAX_USERS], Path(folder) / f"samples_{start}.png"
            contact_sheet(data.select(np.concatenate([_spread_rows(data, user) for user in users])), file, SAMPLES)
            pages.append(Picture.read(file, "one user a row, windows from first to last"))
    return pages


def _spread_rows(data: SpectrogramSet, user: str) -> np.ndarray:
    rows = np.flatnonzero((data.table["user"] == user).to_numpy())
    return rows[np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).round().astype(int)]


def _size(gate: str, needed: int, has: int, what: str) -> tuple[str, str, str, str]:
    status = PASS if has >= needed else INCONCLUSIVE if has > 0 else FAIL
    return gate, status, f"{needed:,} {what}", f"{has:,}"


def _with_roles(data: SpectrogramSet, seed: int) -> SpectrogramSet:
    return replace(data, table=data.table.assign(split=assign_roles(data.table, seed=seed)))


def _titled(title: str, table: pd.DataFrame) -> list[str]:
    return ["", f"{title}:", *table.to_string().splitlines(), ""]
