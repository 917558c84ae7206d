"""The report for people: every figure drawn once, and one self-contained HTML page around them."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment

from validation import figures as draw
from validation.measure import Measured
from validation.sets import Sets
from validation.settings import ValidationSettings

#: What each gate asks, and what to do when the answer is no.
QUESTIONS = {
    "user_accuracy": (
        "Are the synthetic images recognised as their user, by classifiers trained on other real recordings?",
        "Raise the guidance scale a little (2 to 3), train longer, or check that the autoencoder keeps identity "
        "(judge its reconstructions first). Leave out users who fail alone.",
    ),
    "verification": (
        "Do synthetic windows match a person's real enrolment about as well as that person's own other recordings do?",
        "As for user accuracy. If accuracy passes and this fails, the windows carry a caricature of the person: lower "
        "the guidance scale.",
    ),
    "texture": (
        "Is there as much fine detail, along time and along Doppler, as in real images?",
        "Too smooth: the autoencoder blurs; add perceptual or adversarial terms, or a finer latent. Too rough: look "
        "for a checkerboard or unfinished denoising; use more sampling steps.",
    ),
    "memorisation": (
        "Are synthetic images closer to training images than unseen real images are?",
        "Train for fewer steps, on more recordings, with more dropout of the condition; look at the closest pairs.",
    ),
    "fid": (
        "Is the Frechet Inception distance to held-out real images small?",
        "Trust the kernel distances below first; then improve texture and variety. It needs 2,048 images to decide.",
    ),
    "inception_score": (
        "Does the Inception network see several kinds of images?",
        "Compare with the score of the real data: they may hardly reach it themselves.",
    ),
}
TITLES = {"fid": "FID (Inception)", "inception_score": "Inception score"}
VERDICTS = {
    "pass": "Usable, as far as these tests can tell: no gate failed and the decisive ones passed.",
    "fail": "Not usable as it is: at least one gate failed. The first failing gate says what to do.",
    "inconclusive": "Not decided: nothing failed, but the evidence does not suffice to call the data usable.",
}
CAPTIONS = {
    "gallery": "Held-out real, synthetic (of median closeness to the training set, not the best), and the training "
    "image closest to it. One colour scale for all.",
    "user_accuracy": "Per user, with 95 % Wilson intervals; the dashed line is the threshold.",
    "confusion": "Who is taken for whom; rows sum to 1.",
    "verification": "Left: similarities of pairs. Right: ROC; EER is where the dashed line is crossed.",
    "kernel_distances": "Kernel distance (KID) to held-out real images, 95 %: synthetic should be near real (train). "
    "Grey: range between random halves of held-out real data.",
    "cross_distances": "Kernel distance of each synthetic user to each real one, judge's features: every row should be "
    "darkest on the diagonal.",
    "similarities": "A synthetic hill to the right of the real one means copying; far to the left, poor likeness.",
    "closest_pairs": "The synthetic images most like a training image, above that image.",
}


def draw_figures(
    folder: Path, sets: Sets, m: Measured, metrics: pd.DataFrame, limit: float, settings: ValidationSettings
) -> dict[str, Path]:
    """Draw everything that can be drawn into `folder`: name -> PNG, in the order of the report."""
    train, synthetic, near = sets.train, sets.synthetic, m.near_synthetic
    users = sets.users[: settings.gallery_users]
    drawn = {
        "gallery": draw.gallery(sets.test, synthetic, train, near, users),
        "user_accuracy": draw.user_accuracy(m.synthetic, m.real, settings.user_accuracy),
        "confusion": draw.confusion(m.synthetic, m.real, m.classes),
    }
    if not isinstance(m.verification, str):
        drawn["verification"] = draw.verification(m.verification)
    if any(f.halves for f in m.fidelity):
        drawn["kernel_distances"] = draw.kernel_distances(metrics)
    if m.fidelity and not m.fidelity[0].cross.empty:
        drawn["cross_distances"] = draw.cross_distances(m.fidelity[0].cross)
    if np.isfinite(limit) and np.isfinite(near.similarity).any():
        drawn["similarities"] = draw.similarities(near.similarity, m.near_real.similarity, limit)
        drawn["closest_pairs"] = draw.closest_pairs(synthetic, train, near)
    return {name: draw.save(figure, folder / f"{name}.png") for name, figure in drawn.items()}


def render(summary: dict[str, Any], users: pd.DataFrame, figures: dict[str, Path], metrics: pd.DataFrame) -> str:
    """The page, with every picture inside it; user names and notes are escaped."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    template = environment.from_string(files("validation").joinpath("report.html.j2").read_text(encoding="utf-8"))
    distance = metrics["metric"].isin(["kid", "frechet_distance"]) & (metrics["scope"] == "all")
    return template.render(
        summary=summary,
        verdict_text=VERDICTS[summary["verdict"]],
        questions=QUESTIONS,
        titles=TITLES,
        users=users.to_dict("records"),
        distances=pd.DataFrame(metrics[distance]).to_dict("records"),
        figures={name: _inline(path) for name, path in figures.items()},
        captions=CAPTIONS,
        provenance=json.dumps(summary["provenance"], indent=2, ensure_ascii=False),
    )


def _inline(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _number(value: Any, digits: int = 3) -> str:
    """A number for people: "–" where there is none, no more digits than help."""
    if value is None or value is pd.NA or not np.isfinite(value):
        return "–"
    if isinstance(value, int | np.integer):
        return str(value)
    return f"{value:.{digits}g}" if abs(value) >= 100 or (value and abs(value) < 1e-3) else f"{value:.{digits}f}"
