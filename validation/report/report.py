"""The report for people: every figure drawn once, and one self-contained HTML page around the findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from validation.findings import Finding
from validation.measures.neighbours import nearest_same_user
from validation.report.page import Picture, flat, gate_name, gate_names, listed, render
from validation.results import ADVISORY, DECISIVE, FAIL, INCONCLUSIVE, PASS, UNAVAILABLE, metrics_table
from validation.rules import Rule
from validation.sets import Sets
from validation.settings import ValidationSettings

#: Gates that need a reader come first.
URGENCY = (FAIL, INCONCLUSIVE, ADVISORY, PASS, UNAVAILABLE)
#: What nobody has shown where the gate is missing or could not be measured.
OPEN_WITHOUT = {
    "tstr": "Whether a classifier trained on these images alone recognises real ones: that was not measured here.",
    "augmentation_gain": "Whether adding these images to few real ones improves identification: that was not "
    "measured here.",
    "verification": "Whether the images match a person's real recordings one to one: that was not measured here.",
    "memorisation": "Whether training images were copied: that was not measured here.",
    "diversity": "Whether the images of a person vary as much as real ones: that was not measured here.",
    "fidelity": "Whether the images lie among real ones, whatever else might be wrong with them: that was not measured "
    "here.",
    "kinematics": "Whether a human body could move like this: that was not measured here.",
    "shortcuts": "Whether identity lies in the motion or in gain, floor and other traces of the recording: that was "
    "not measured here.",
    "alterations": "Whether images were reversed, stretched, spliced or compressed: that was not measured here.",
}
ALWAYS_OPEN = (
    "Whether any of it holds for people, places, radars or gaits that are not in the real data.",
    "That the images are anonymous: whoever passes is recognisable in them, and that was the aim.",
    "That nothing at all was memorised: only the kinds of copies named above were looked for.",
    "Anything finer than the intervals: with few images per user, few users or few sessions they are wide.",
)


@dataclass(frozen=True)
class Strip:
    """One row of the gallery. fails: the gates this user fails, "" if none."""

    user: str
    fails: str
    picture: Picture


@dataclass(frozen=True)
class Section:
    """A finding as the page shows it."""

    finding: Finding
    pictures: list[Picture]
    measurements: pd.DataFrame


def write_report(
    folder: Path,
    summary: dict[str, Any],
    findings: list[Finding],
    users: pd.DataFrame,
    metrics: pd.DataFrame,
    sets: Sets,
    settings: ValidationSettings,
    rules: dict[str, Rule],
) -> None:
    """Draw every picture once into `folder`/figures and write `folder`/report.html, which holds them all.

    summary: `Summary.as_dict`. users: one row per user, failing ones first, with the columns user, status ("fail", "not
    judged" or "ok"), fails (names of gates) and numbers. metrics: everything measured; the page shows each finding its
    own. The page makes no request, runs no script but its own, and treats every name and note as text.
    """
    from validation.report.figures import report_style

    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    with report_style():
        gallery, sections = draw_gallery(figures, sets, users, settings), draw_sections(figures, findings)
    shown = _without_empty_columns(users.assign(fails=users["fails"].map(gate_names)))
    long = {key: tree for key, tree in summary["provenance"].items() if key in ("settings", "limits")}
    brief = {key: tree for key, tree in summary["provenance"].items() if key not in long}
    page = render(
        "report.html.j2",
        verdict=summary["verdict"],
        sentence=verdict_sentence(summary, users),
        gates=dict(sorted(summary["gates"].items(), key=lambda item: URGENCY.index(item[1]["status"]))),
        rules=rules,
        warnings=all_warnings(summary, findings),
        gallery=gallery,
        users=shown,
        groups=column_groups(shown, findings),
        failing=failing_users(users),
        sections=sections,
        open_questions=open_questions(summary["gates"]),
        provenance=flat(brief),
        settings=flat(long),
        measurements=len(metrics),
        sets=sets,
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def verdict_sentence(summary: Mapping[str, Any], users: pd.DataFrame) -> str:
    """The verdict in one sentence that names the gates, and the users, it rests on."""
    status = {name: gate["status"] for name, gate in summary["gates"].items()}
    if summary["verdict"] == PASS:
        return "As far as these tests can tell: the decisive gates passed and none failed."
    if summary["verdict"] == FAIL:
        failed = listed([gate_name(name) for name, found in status.items() if found == FAIL])
        who = failing_users(users)
        named = f", for {len(who)} of {len(users)} users by name ({listed(who, 5)})" if who else ""
        return f"They fail {failed}{named}."
    asked = dict.fromkeys([*status, *DECISIVE])
    waiting = [n for n in asked if status.get(n) == INCONCLUSIVE or (n in DECISIVE and status.get(n) != PASS)]
    return f"Nothing failed, but the evidence does not suffice for {listed([gate_name(name) for name in waiting])}."


def all_warnings(summary: Mapping[str, Any], findings: Iterable[Finding]) -> list[str]:
    """Each warning once: those of the sets first, then those of the blocks."""
    given = [*summary["provenance"].get("warnings", []), *(w for finding in findings for w in finding.warnings)]
    return list(dict.fromkeys(given))


def failing_users(users: pd.DataFrame) -> list[str]:
    """Names of the users with status "fail", in the order of the table."""
    return [str(user) for user in users["user"][users["status"] == FAIL]]


def column_groups(users: pd.DataFrame, findings: Iterable[Finding]) -> list[tuple[str, int]]:
    """Which finding each run of columns comes from, from the left: title ("" for none) and number of columns."""
    owner = {str(column): finding.title for finding in findings for column in finding.per_user.columns}
    runs = groupby(owner.get(str(column), "") for column in users.columns)
    return [(title, len(list(run))) for title, run in runs]


def open_questions(gates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the report does not say: open questions of the gates that are missing or unavailable, and those of all."""
    measured = {name for name, gate in gates.items() if gate["status"] != UNAVAILABLE}
    return [text for name, text in OPEN_WITHOUT.items() if name not in measured] + list(ALWAYS_OPEN)


def draw_sections(folder: Path, findings: Sequence[Finding]) -> list[Section]:
    """Every drawing of every finding as `folder`/<name>.png. Raises `ValueError` where two share a name."""
    names = [drawing.name for finding in findings for drawing in finding.drawings]
    if len(set(names)) < len(names):
        raise ValueError(f"two drawings of the report share a name: {sorted(names)}")
    return [
        Section(
            finding,
            [_draw(folder, drawing.name, drawing.caption, drawing.draw()) for drawing in finding.drawings],
            _without_empty_columns(metrics_table(finding.metrics)),
        )
        for finding in findings
    ]


def draw_gallery(folder: Path, sets: Sets, users: pd.DataFrame, settings: ValidationSettings) -> list[Strip]:
    """One strip for each of the first `gallery_users` rows of `users` with real rows: real, synthetic, its closest
    training image.

    The synthetic image is the one of median closeness to the training set, so neither the best nor the worst.
    """
    from validation.report.figures import gallery

    strips = []
    shown = users[users["user"].isin(sets.users)].head(settings.gallery_users)
    for number, row in enumerate(shown.itertuples(index=False), start=1):
        real, synthetic, train = (_of_user(data, row.user) for data in (sets.test, sets.synthetic, sets.train))
        near = nearest_same_user(synthetic, train, settings.max_shift)
        figure = gallery(real.select([0]), synthetic, train, near)
        strips.append(Strip(str(row.user), str(row.fails), _draw(folder, f"gallery_{number:02d}", "", figure)))
    return strips


def _draw(folder: Path, name: str, caption: str, figure: Any) -> Picture:
    from validation.report.figures import save

    return Picture.read(save(figure, folder / f"{name}.png"), caption)


def _of_user(data: SpectrogramSet, user: str) -> SpectrogramSet:
    return data.select((data.table["user"] == user).to_numpy())


def _without_empty_columns(table: pd.DataFrame) -> pd.DataFrame:
    return table.loc[:, (table.notna() & (table.astype(object) != "")).any()]
