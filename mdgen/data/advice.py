"""From a data set's fingerprint to a plan to a recipe: which settings, and why, in files people can read and change.

The rules start from the shipped recipes, whose figures were measured (see `benchmarks/results`), and change only what
the fingerprint gives a reason for.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mdgen.config import Recipe, dump_recipe, load_recipe
from mdgen.data.inspect import Fingerprint
from mdgen.data.recordings import ALIGNED
from mdgen.data.splits import DEFAULT_FRACTIONS, GUARD

FINGERPRINT_FILE, PLAN_FILE, RECIPE_FILE = "fingerprint.json", "plan.md", "recipe.yaml"
#: Fewer windows than this of a user are few: weaker guidance and dropout against copies.
FEW_WINDOWS = 40
LARGEST_SMALL = 64
_TABLE_HEAD = "| what | value | why |\n|---|---|---|"


@dataclass(frozen=True)
class Base:
    """A shipped recipe for small pictures on a processor, that a plan starts from.

    users: of the set it was measured on. most_epochs: times its denoiser may see each independent window, or each
    window where they are cut anew. Beyond, small sets are memorised.
    """

    recipe: str
    users: int
    most_epochs: int


#: Windows that begin anywhere in a recording. On real gait, not cut anew, its denoiser gave no copies after 220 times
#: and 41 % after 750.
ANYWHERE = Base("quickstart", 12, 200)
#: Windows that all begin at the same phase of a movement, cut from longer recordings or one by one. On real gait their
#: denoiser, half as wide, gave no copies after 380 times and 82 % after 1300.
ALIGNED_CUT, ALIGNED_SINGLE = Base("gait", 8, 400), Base("gestures", 8, 400)
#: Recipe for pictures of more than 64 pixels a side, on a GPU; its steps stay as they are.
LARGE = "microdoppler128"
#: Images that were shown of 8 people whose windows were cut anew at other shifts.
IMAGES_SEEN_ANEW = 83_000


@dataclass(frozen=True)
class Decision:
    """One setting. key: a recipe's dotted key, or what is done outside of it ("split", "size")."""

    key: str
    value: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """base: the shipped recipe that was started from. settings: changes to it. preparation: what to do before."""

    base: str
    settings: tuple[Decision, ...]
    preparation: tuple[Decision, ...]

    def recipe(self) -> Recipe:
        """The base with the settings, checked."""
        return load_recipe(self.base, [f"{d.key}={d.value}" for d in self.settings])

    def recipe_text(self) -> str:
        """The whole recipe as YAML, what was changed and why in its head; `load_recipe` reads it."""
        lines = [f"# Recommended by mdgen inspect, from the shipped recipe {self.base}. Changed:"]
        lines += [f"#   {d.key}: {d.value}  ({d.reason})" for d in self.settings]
        lines += [f"# Before training: {d.key}: {d.value} ({d.reason})" for d in self.preparation]
        return "\n".join(" ".join(line.splitlines()) for line in lines) + "\n" + dump_recipe(self.recipe())


def make_plan(facts: Fingerprint) -> Plan:
    """What to train on such data, and how to prepare them."""
    side = min(facts.native_side, facts.height, facts.width)
    if facts.common_course <= ALIGNED:
        base = ANYWHERE
    else:
        base = ALIGNED_CUT if facts.overlap > 0 else ALIGNED_SINGLE
    small = base if side <= LARGEST_SMALL else None
    recipe = small.recipe if small else LARGE
    return Plan(recipe, tuple(_settings(facts, load_recipe(recipe), small)), tuple(_preparation(facts, side)))


def write_plan(facts: Fingerprint, plan: Plan, folder: Path) -> list[Path]:
    """fingerprint.json, plan.md and recipe.yaml in `folder`, which exists."""
    decisions = [*plan.preparation, *plan.settings]
    rows = "\n".join(f"| {d.key} | {d.value} | {d.reason} |" for d in decisions)
    contents = {
        FINGERPRINT_FILE: json.dumps(asdict(facts), indent=2, ensure_ascii=False) + "\n",
        PLAN_FILE: f"# Plan\n\nStarting from the recipe `{plan.base}`.\n\n{_TABLE_HEAD}\n{rows}\n",
        RECIPE_FILE: plan.recipe_text(),
    }
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in contents]


def _settings(facts: Fingerprint, shipped: Recipe, small: Base | None) -> list[Decision]:
    anew, why = facts.overlap > 0, "windows overlap, so recordings can be cut anew"
    if not anew:
        why = "windows do not overlap: nothing to cut anew"
    elif facts.common_course > ALIGNED:
        anew, why = False, "windows of all recordings begin at the same phase of a step; cut anew they would not"
    found = [
        Decision("name", "recommended", "made for this data set"),
        Decision("description", f"{facts.windows} windows of {facts.users} users", "what it was made for"),
        Decision("data.augment.time_shift", str(anew).lower(), why),
    ]
    batch = shipped.denoiser.training.batch_size
    while batch > 4 and batch > facts.train_windows / 4:
        batch //= 2
    if batch < shipped.denoiser.training.batch_size:
        for part in ("autoencoder", "denoiser"):
            size = min(batch, getattr(shipped, part).training.batch_size)
            found.append(Decision(f"{part}.training.batch_size", str(size), f"{facts.train_windows} training windows"))
    if small:
        found += _small_steps(facts, small, shipped, batch, anew)
    if facts.train_least < FEW_WINDOWS:
        reason = f"a user has {facts.train_least} training windows: less copying"
        found.append(Decision("denoiser.dropout", "0.1", reason))
        found.append(Decision("generate.guidance_scale", "1.5", reason))
    per_user = max(20, min(200, facts.train_windows // max(1, facts.users)))
    found.append(Decision("generate.per_user", str(per_user), "as many as a user has training windows (20 to 200)"))
    return found


def _small_steps(facts: Fingerprint, base: Base, shipped: Recipe, batch: int, anew: bool) -> list[Decision]:
    """Denoiser steps: as many images as the measured recipe shows, more for more users, fewer where few are new."""
    measured = shipped.denoiser.training.steps * shipped.denoiser.training.batch_size
    new = max(1, round(facts.train_windows * facts.independent / facts.windows))
    wanted = (IMAGES_SEEN_ANEW if anew else measured) * max(1.0, (facts.users / base.users) ** 0.5)
    most = base.most_epochs * (facts.train_windows if anew else new)
    seen = min(wanted, most)
    steps = max(100, round(seen / batch / 50) * 50)
    why = "as the measured recipe does"
    if seen < wanted:
        why = f"only {new} independent windows: more would be memorised"
    return [
        Decision("denoiser.training.steps", str(steps), f"{steps * batch:,} images of {facts.users} users, {why}"),
        Decision("denoiser.training.checkpoint_every", str(max(50, steps // 10)), "ten checkpoints to choose from"),
    ]


def _preparation(facts: Fingerprint, side: int) -> list[Decision]:
    found = []
    if facts.channels == 3:
        found.append(
            Decision("channels", "1", "`mdgen import` inverts colour maps: one level instead of three colours")
        )
    if side < min(facts.height, facts.width) or facts.height != facts.width:
        found.append(Decision("size", f"`mdgen import --size {side}`", f"nothing finer than {side} pixels is in them"))
    needed = len(DEFAULT_FRACTIONS)
    if facts.roles and facts.leak == 0 and not facts.crossing:
        found.append(Decision("split", "keep it", "no held-out window shares signal with a training one"))
    elif facts.sessions_least >= needed:
        found.append(Decision("split", "whole sessions", f"every user has {facts.sessions_least} or more"))
    elif facts.recordings_least >= needed:
        found.append(Decision("split", "whole recordings", f"every user has {facts.recordings_least} or more"))
    else:
        found.append(
            Decision(
                "split",
                "`mdgen import --fractions train=.6,judge=.2,test=.2`",
                f"too few known recordings for four roles: parts of one, {GUARD} windows apart",
            )
        )
    return found
