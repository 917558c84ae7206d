"""Data sets with a known answer, built from the given real data: what a judge must let pass and what it must catch.

Ceilings are real data nobody trained on, floors are useless by construction, cheaters are the training set in disguise.
`self_check` hands them all to the judge and says where it was fooled. Judging itself is `validation.run`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mdgen.data.dataset import AXIS_COLUMNS, SpectrogramSet, make_table
from validation.context import Context
from validation.results import FAIL, Summary
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

CEILING, FLOOR, CHEATER = "ceiling", "floor", "cheater"
IDENTITY = ("user_accuracy", "conditioning", "verification")
#: Columns by which a disguised copy is shifted in time at most.
COPY_SHIFT = 7
COPY_NOISE = 0.03


@dataclass(frozen=True)
class Control:
    """A data set with a known answer. must_fail: gates of which at least one has to fail; none for a ceiling."""

    name: str
    kind: str
    data: SpectrogramSet
    must_fail: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """In words, for the table."""
        return f"fail by {' or '.join(self.must_fail)}" if self.must_fail else "no failure"


def controls(real: SpectrogramSet, seed: int = 0, reconstructions: SpectrogramSet | None = None) -> list[Control]:
    """The controls that `real` (rows with roles) can give.

    Ceilings: held-out rows of role val, where every user has some, and `reconstructions` of real rows where given.
    Floors are made of all held-out rows (val and test), cheaters of role train.
    """
    rng = np.random.default_rng(seed)
    held_out, train = as_synthetic(real.role("val", "test")), as_synthetic(real.role("train"))
    floors = {
        "matched noise": (matched_noise(held_out, rng), ("user_accuracy", "texture", "fidelity", "kinematics")),
        "columns shuffled": (shuffled_columns(held_out, rng), ("texture", "kinematics", "alterations")),
        "another user's data": (other_user(held_out), IDENTITY),
        "labels shuffled": (shuffled_labels(held_out, rng), IDENTITY),
        "mean image of each user": (user_means(held_out), ("diversity", "texture")),
    }
    cheaters = {
        "training copies": train,
        "training copies, shifted": shifted(train, rng),
        "training copies, slightly noised": noised(train, rng),
    }
    return [
        *_ceilings(real, reconstructions),
        *(Control(name, FLOOR, data, gates) for name, (data, gates) in floors.items()),
        *(Control(name, CHEATER, data, ("memorisation",)) for name, data in cheaters.items()),
    ]


def _ceilings(real: SpectrogramSet, reconstructions: SpectrogramSet | None) -> list[Control]:
    val = real.role("val")
    found = [Control("real data of role val", CEILING, as_synthetic(val))] if val.users == real.users else []
    if reconstructions is not None:
        found.append(Control("reconstructions", CEILING, as_synthetic(reconstructions)))
    return found


def self_check(
    real: SpectrogramSet,
    settings: ValidationSettings,
    progress: Callable[[str], None] | None = None,
    reconstructions: SpectrogramSet | None = None,
) -> pd.DataFrame:
    """Judge every control; the judges are trained once. Columns control, kind, expected, obtained, caught_by, ok.

    `ok` is False where the judge was fooled: a ceiling that fails, or a floor or cheater that no gate meant for it
    fails. Raises `MdgenError` on data that cannot be judged.
    """
    from validation.run import assess_context

    say = progress or (lambda _: None)
    sets = prepare_sets(real, as_synthetic(real), settings.seed, settings.users)  # gives roles where there are none
    context, rows = Context(sets, settings, say), []
    for control in controls(sets.real, settings.seed, reconstructions):
        say(f"control: {control.name}")
        rows.append(checked(control, assess_context(context.judging(control.data)).summary))
    return pd.DataFrame(rows)


def checked(control: Control, summary: Summary) -> dict[str, object]:
    """One row of `self_check`: what was expected of `control` and what the judge said."""
    failed = failing_gates(summary)
    return {
        "control": control.name,
        "kind": control.kind,
        "expected": control.expected,
        "obtained": summary.verdict,
        "caught_by": ", ".join(failed),
        "ok": was_right(control.must_fail, failed),
    }


def failing_gates(summary: Summary) -> list[str]:
    """Names of the gates that failed, in the order of the report."""
    return [gate.name for gate in summary.gates if gate.status == FAIL]


def was_right(must_fail: Sequence[str], failed: Sequence[str]) -> bool:
    """Whether one of `must_fail` is among the `failed` gates; where nothing must fail, whether nothing did."""
    return bool(set(must_fail) & set(failed)) if must_fail else not failed


def as_synthetic(data: SpectrogramSet) -> SpectrogramSet:
    """`data` as a generator would hand it over: user and axes, but no session, no role, each image by itself."""
    axes = {column: data.table[column].to_numpy() for column in AXIS_COLUMNS if column in data.table}
    numbers = [str(number) for number in range(len(data))]
    table = make_table(user=data.table["user"].tolist(), session="synthetic", recording=numbers).assign(**axes)
    return SpectrogramSet(data.images, table, f"control of {data.name}")


def matched_noise(data: SpectrogramSet, rng: np.random.Generator) -> SpectrogramSet:
    """Gaussian noise with the mean and deviation each pixel has within its user, clipped to [-1, 1]."""
    images, users = np.empty_like(data.images), data.table["user"].to_numpy()
    for user in data.users:
        own = data.images[users == user]
        images[users == user] = rng.normal(own.mean(axis=0), own.std(axis=0), own.shape)
    return data.with_images(images.clip(-1, 1))


def shuffled_columns(data: SpectrogramSet, rng: np.random.Generator) -> SpectrogramSet:
    """The columns of every image in random order: the Doppler marginal stays, the gait goes."""
    return data.with_images(np.stack([image[..., rng.permutation(image.shape[-1])] for image in data.images]))


def other_user(data: SpectrogramSet) -> SpectrogramSet:
    """Every image under the name of the next user."""
    following = dict(zip(data.users, np.roll(data.users, -1).tolist(), strict=True))
    return relabelled(data, data.table["user"].map(following).to_numpy())


def shuffled_labels(data: SpectrogramSet, rng: np.random.Generator) -> SpectrogramSet:
    """The same names, dealt anew."""
    return relabelled(data, rng.permutation(data.table["user"].to_numpy()))


def user_means(data: SpectrogramSet) -> SpectrogramSet:
    """Every image replaced by the mean image of its user."""
    images, users = np.empty_like(data.images), data.table["user"].to_numpy()
    for user in data.users:
        images[users == user] = data.images[users == user].mean(axis=0)
    return data.with_images(images)


def shifted(data: SpectrogramSet, rng: np.random.Generator, reach: int = COPY_SHIFT) -> SpectrogramSet:
    """Every image rolled in time by 1 to `reach` columns, either way."""
    shifts = rng.integers(1, reach + 1, len(data)) * rng.choice([-1, 1], len(data))
    rolled = [np.roll(image, shift, axis=-1) for image, shift in zip(data.images, shifts, strict=True)]
    return data.with_images(np.stack(rolled))


def noised(data: SpectrogramSet, rng: np.random.Generator, deviation: float = COPY_NOISE) -> SpectrogramSet:
    """A little Gaussian noise on every pixel, clipped to [-1, 1]."""
    return data.with_images((data.images + rng.normal(0, deviation, data.images.shape)).clip(-1, 1))


def relabelled(data: SpectrogramSet, users: Sequence[str] | np.ndarray) -> SpectrogramSet:
    """The same images under other names, [N]."""
    return SpectrogramSet(data.images, data.table.assign(user=list(users)), data.name)
