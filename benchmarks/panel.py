"""A fixed part of the judge, the same for every set it is shown: what `mdgen validate` measures, in about a minute."""

from __future__ import annotations

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.texture import texture_ratio
from validation.blocks.diversity import assess_diversity
from validation.blocks.usefulness import unseen_rows
from validation.blocks.verification import verify
from validation.context import Context
from validation.measures.distances import kernel_distance, standardise
from validation.measures.enrolment import split_enrolment
from validation.measures.learning import macro
from validation.measures.recognition import recognise
from validation.measures.transfer import rights
from validation.networks.judge import Judge
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

#: What is measured, and what is best: more, less, or a ratio of 1.
MEASURES = {
    "user_accuracy": "higher",
    "tstr": "higher",
    "variety": "one",
    "kernel_distance": "lower",
    "equal_error_rate": "lower",
    "texture_time": "one",
    "texture_doppler": "one",
}


class Panel:
    """Judges and embedding learn from role `judge`; sets are compared with role `test` (for TSTR, with all that no
    generator saw). Nothing that it learns depends on the set that it is shown."""

    def __init__(self, data: SpectrogramSet, seed: int = 0, judges: int = 2, steps: int = 500) -> None:
        self.settings = ValidationSettings(seed=seed, judge_seeds=judges, judge_steps=steps, null_draws=10)
        self.context = Context(prepare_sets(data, data.role("train"), seed), self.settings)
        users = self.context.sets.users
        self.unseen = unseen_rows(data, users)
        self.sides = split_enrolment(data, users, per_user=20, seed=seed)

    def __call__(self, made: SpectrogramSet) -> dict[str, float]:
        """`MEASURES` of a set with the users of the real data."""
        context, seed = self.context.judging(made), self.settings.seed
        sets = context.sets
        judge, test, shown = (context.features("judge", data) for data in (sets.judge, sets.test, made))
        values = {
            "user_accuracy": recognise(context.judges, made, sets.users).macro,
            "tstr": self._taught_by(made),
            "variety": assess_diversity(context).gates[0].value,
            "kernel_distance": kernel_distance(*standardise(judge, test, shown)),
            "equal_error_rate": verify(context.embedding, self.sides, made, seed, draws=2).eer_synthetic,
            **{f"texture_{axis}": ratio for axis, ratio in texture_ratio(sets.test.images, made.images).items()},
        }
        return {name: round(float(values[name]), 4) for name in MEASURES}

    def _taught_by(self, made: SpectrogramSet) -> float:
        """Macro accuracy on unseen real windows of networks that learned from all of `made`."""
        s = self.settings
        template = Judge(s.seed, s.judge_steps, s.batch_size, s.judge_size)
        counts = made.table["user"].value_counts().to_dict()
        right = rights(template, made, counts, self.unseen, [s.seed + i for i in range(s.judge_seeds)])
        return macro(right, self.unseen.table["user"].to_numpy())
