"""Can the judge be fooled? Sabotaged and honest data sets of three domains, judged; exit code 1 when it can.

    python benchmarks/fooling.py --gait SOURCE --gestures SOURCE

A sabotage is caught when one of the gates meant for it fails, and does not fail an honest set of the same real data as
well; an honest set (fresh real data) must not fail. Results go to `benchmarks/results/fooling.json` and `.csv`, the
table to `docs/fooling.md`. Sets that this very version of the judge has judged already are not judged again, so an
interrupted run goes on where it stopped; --fresh judges them again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import Manager, get_context
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pandas as pd
import torch
from domains import Case, Honest, gait, gestures, gestures_by_day, walkers
from sabotage import DOMAINS, SABOTAGES, Material

import mdgen
import validation
from mdgen.data.dataset import SpectrogramSet
from validation.cache import source_hash
from validation.context import Context
from validation.controls import failing_gates
from validation.results import FAIL, Summary
from validation.run import assess_context
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

HERE = Path(__file__).parent
RESULT = HERE / "results" / "fooling.json"
DOCUMENT = HERE.parent / "docs" / "fooling.md"
#: Parts of `validation` that no verdict depends on.
WITHOUT_SAY = ("report", "study", "commands")
HONEST, SABOTAGED = "honest", "sabotage"
ANY = "-"
COLUMNS = ["domain", "case", "set", "kind", "images", "meant", "verdict", "failed", "ok", "judge", "seconds"]


@dataclass(frozen=True)
class Plan:
    """One real data set, the honest draws to judge against it, and whether the first of them is sabotaged too."""

    domain: str
    case: Callable[[], Case]
    honest: tuple[Honest, ...]
    sabotaged: bool = False


@dataclass(frozen=True)
class Job:
    """A synthetic set to judge. meant: gates of which one must fail; none for an honest set."""

    name: str
    meant: tuple[str, ...]
    build: Callable[[Context], SpectrogramSet]

    @property
    def kind(self) -> str:
        return SABOTAGED if self.meant else HONEST


def plans(options: argparse.Namespace) -> list[Plan]:
    """Everything the given folders allow."""
    fifty = Honest("fresh, 50 a user", 50)
    made = [
        Plan(
            "walkers", walkers,
            (
                fifty, Honest("fresh, 25 a user", 25, seed=1), Honest("fresh, 100 a user", 100, seed=2),
                Honest("fresh, 50 other ones a user", 50, seed=3), Honest("fresh, of two days only", 40, ("s7", "s8")),
            ), True,
        ),
        Plan("walkers", lambda: walkers(seed=5, users=6), (fifty, Honest("fresh, all", 0))),
    ]  # fmt: skip
    everything = Honest("fresh, all")
    if options.gait:
        made.append(Plan("gait", lambda: gait(options.gait), (everything, Honest("fresh, 20 a user", 20)), True))
        made.append(Plan("gait", lambda: gait(options.gait, seed=1), (everything,)))
    if options.gestures:
        made.append(Plan("gestures", lambda: gestures(options.gestures), (fifty, everything), True))
        made.append(Plan("gestures", lambda: gestures(options.gestures, seed=1), (fifty,)))
        made.append(Plan("gestures", lambda: gestures_by_day(options.gestures), (fifty,)))
    return [plan for plan in made if plan.domain in options.domains]


def jobs(plan: Plan, case: Case, seed: int) -> list[Job]:
    """What is judged against one real data set."""
    found = [Job(draw.name, (), lambda _, draw=draw: draw.draw(case.fresh)) for draw in plan.honest]
    if plan.sabotaged:
        found += [
            Job(s.name, s.gates, lambda context, s=s: s.build(_material(plan, case, context, s.name, seed)))
            for s in SABOTAGES
            if plan.domain in s.domains
        ]
    return found


def _material(plan: Plan, case: Case, context: Context, name: str, seed: int) -> Material:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return Material(case.real, plan.honest[0].draw(case.fresh), case.zero_row, context.judges, rng, case.seed)


def judge_all(plan: Plan, options: argparse.Namespace, known: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """A row per set of the plan that is wanted and not `known`; judges and features are made once."""
    case = plan.case()
    wanted = [
        job
        for job in jobs(plan, case, options.seed)
        if (case.name, job.name) not in known and any(text in job.name for text in options.only)
    ]
    if not wanted:
        return
    settings = ValidationSettings(seed=options.seed)
    sets = prepare_sets(case.real, plan.honest[0].draw(case.fresh), options.seed)
    context = Context(sets, settings.quick() if options.settings == "quick" else settings)
    for job in wanted:
        data = job.build(context)
        started = time.monotonic()
        summary = assess_context(context.judging(data)).summary
        yield _row(plan.domain, case.name, job, data, summary, time.monotonic() - started)


def judged(options: argparse.Namespace, known: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """The rows of all plans as they come, several plans at a time, each in a process of its own."""
    count = len(plans(options))
    with Manager() as manager, ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        rows: Queue = manager.Queue()
        running = [pool.submit(_work, number, options, known, rows) for number in range(count)]
        for _ in range(count):
            yield from iter(rows.get, None)
        for plan in running:
            plan.result()


def _work(number: int, options: argparse.Namespace, known: set[tuple[str, str]], rows: Queue) -> None:
    """Put the rows of one plan on the queue, None at the end, also where it breaks off."""
    torch.set_num_threads(1)
    try:
        for row in judge_all(plans(options)[number], options, known):
            rows.put(row)
    finally:
        rows.put(None)


def _row(domain: str, case: str, job: Job, data: SpectrogramSet, summary: Summary, seconds: float) -> dict[str, Any]:
    failed = failing_gates(summary)
    stored = summary.as_dict()["gates"]
    telling = {*job.meant, *failed} if job.meant else set(stored)
    return {
        **{"domain": domain, "case": case, "set": job.name, "kind": job.kind, "images": len(data)},
        **{"meant": list(job.meant), "verdict": summary.verdict, "failed": failed},
        **{"judge": judge_version(), "seconds": round(seconds, 1)},
        "gates": {name: _trimmed(gate) for name, gate in stored.items() if name in telling},
    }


@cache
def judge_version() -> str:
    """Twelve hexadecimal digits of everything of `validation` that a verdict can depend on."""
    return source_hash(Path(validation.__file__).parent, WITHOUT_SAY)


def replaced(rows: list[dict[str, Any]], new: dict[str, Any]) -> list[dict[str, Any]]:
    """`rows` with `new` in the place of the row of the same set, or at the end."""
    key = (new["case"], new["set"])
    places = [place for place, row in enumerate(rows) if (row["case"], row["set"]) == key]
    return [*rows[: places[0]], new, *rows[places[0] + 1 :]] if places else [*rows, new]


def counted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `ok` settled: a gate that fails an honest set of a case catches nothing there."""
    crying: dict[str, set[str]] = {}
    for row in rows:
        if row["kind"] == HONEST:
            crying.setdefault(row["case"], set()).update(row["failed"])
    return [row | {"ok": _right(row, crying.get(row["case"], set()))} for row in rows]


def _right(row: dict[str, Any], crying: set[str]) -> bool:
    if row["kind"] == HONEST:
        return not row["failed"]
    return bool(set(row["meant"]) & set(row["failed"]) - crying)


def _trimmed(gate: dict[str, Any]) -> dict[str, Any]:
    numbers = {key: gate[key] for key in ("value", "ci_low", "ci_high", "threshold", "ceiling", "floor")}
    kept = {key: float(f"{value:.4g}") for key, value in numbers.items() if value is not None}
    return {"status": gate["status"], **kept} | ({"note": gate["note"]} if gate["status"] == FAIL else {})


def main() -> None:
    options = _options()
    rows = counted(_stored(options))
    known = {(row["case"], row["set"]) for row in rows if not options.fresh and row.get("judge") == judge_version()}
    for new in judged(options, known):
        rows = counted(replaced(rows, new))
        row = next(row for row in rows if (row["case"], row["set"]) == (new["case"], new["set"]))
        _store(rows, options)
        said = "ok" if row["ok"] else "MISSED BY ITS GATES" if row["kind"] == SABOTAGED else "WRONGLY FAILED"
        failed = ", ".join(row["failed"]) or ANY
        print(f"{row['case']} | {row['set']} | {said} | {failed} | {row['seconds']} s", flush=True)
    _store(rows, options)
    wrong = [row for row in rows if not row["ok"]]
    print(f"{len(rows)} sets, {len(wrong)} judged wrongly")
    raise SystemExit(1 if wrong else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gait", type=Path, help="folder per person of real gait pictures, or a data set made of it")
    parser.add_argument("--gestures", type=Path, help="folder per gesture of pictures, or a data set made of it")
    parser.add_argument("--domains", nargs="+", default=list(DOMAINS), choices=DOMAINS)
    parser.add_argument("--only", nargs="+", default=[""], help="sets whose name holds one of these texts")
    parser.add_argument("--settings", choices=("quick", "default"), default="quick")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="real data sets judged against at a time")
    parser.add_argument("--fresh", action="store_true", help="judge again what this version has judged, too")
    parser.add_argument("--result", type=Path, default=RESULT)
    return parser.parse_args()


def _stored(options: argparse.Namespace) -> list[dict[str, Any]]:
    if not options.result.exists():
        return []
    found = json.loads(options.result.read_text())
    if (found["settings"], found["seed"]) != (options.settings, options.seed):
        raise SystemExit(f"{options.result}: was made with other settings; move it away or give --result another name")
    return list(found["sets"])


def _store(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    versions = {"mdgen": mdgen.__version__, "python": platform.python_version()}
    versions |= {module.__name__: str(module.__version__) for module in (np, torch)}
    found = {"settings": options.settings, "seed": options.seed, "versions": versions}
    options.result.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(row) for row in rows)
    options.result.write_text(f'{json.dumps(found)[:-1]}, "sets": [\n{lines}\n]}}\n', encoding="utf-8")
    flat = pd.DataFrame(rows)[COLUMNS].assign(**{c: [", ".join(row[c]) for row in rows] for c in ("meant", "failed")})
    flat.to_csv(options.result.with_suffix(".csv"), index=False)
    page = DOCUMENT if options.result == RESULT else options.result.with_suffix(".md")
    page.write_text(document(pd.DataFrame(rows), options), encoding="utf-8")


def document(rows: pd.DataFrame, options: argparse.Namespace) -> str:
    """The page for the docs: honest sets, then one row per sabotage with a column per domain."""
    honest, sabotaged = rows[rows["kind"] == HONEST], rows[rows["kind"] == SABOTAGED]
    caught, kept = int(sabotaged["ok"].sum()), int(honest["ok"].sum())
    earlier = int((rows["judge"] != judge_version()).sum())
    others = int((~sabotaged["ok"] & sabotaged["failed"].astype(bool)).sum())
    lines = [
        "# Can the judge be fooled?",
        "",
        f"Made by `python benchmarks/fooling.py` (settings {options.settings}, seed {options.seed}). Honest sets are "
        "fresh real data from recordings that neither judges nor reference have seen; every sabotage starts from an "
        "honest set, so nothing but the sabotage can give it away. Bold: a gate meant for it; one that fails an honest "
        "set too does not count."
        + (f" {earlier} of the {len(rows)} sets were judged by an earlier version of the judge." if earlier else ""),
        "",
        f"**{caught} of {len(sabotaged)} sabotaged sets are caught by a gate meant for them, {others} by other gates "
        f"only, {len(sabotaged) - caught - others} by none; {kept} of {len(honest)} honest sets do not fail.**",
        "",
        "| honest set | real data | images | verdict | failing gates |",
        "|---|---|---|---|---|",
        *(
            f"| {r.set} | {r.case} | {r.images} | {r.verdict} | {', '.join(r.failed) or ANY} |"
            for r in honest.itertuples()
        ),
        "",
        "| sabotage | " + " | ".join(DOMAINS) + " |",
        "|---" * (1 + len(DOMAINS)) + "|",
    ]
    for name, group in sabotaged.groupby("set", sort=False):
        cells = {r.domain: _cell(r.meant, r.failed, r.ok) for r in group.itertuples()}
        lines.append(f"| {name} | " + " | ".join(cells.get(domain, "") for domain in DOMAINS) + " |")
    return "\n".join(lines) + "\n"


def _cell(meant: list[str], failed: list[str], ok: bool) -> str:
    gates = ", ".join(f"**{gate}**" if gate in meant else gate for gate in failed)
    return gates if ok else f"other gates only: {gates}" if gates else "MISSED"


if __name__ == "__main__":
    main()
