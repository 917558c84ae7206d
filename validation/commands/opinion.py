"""What the generator is told of the judge: an opinion on reconstructions, and the judge's settings in a recipe."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdgen.config import Recipe
    from mdgen.data.dataset import SpectrogramSet
    from mdgen.training.autoencoder_check import IdentityRetention
    from validation.settings import ValidationSettings


def identity_judge(data: SpectrogramSet, seed: int) -> IdentityRetention | None:
    """A judge of how much identity reconstructions keep; None without rows to train it on."""
    judges = data.role("judge")
    if len(judges) == 0:
        return None
    from validation.networks.judge import identity_retention

    return partial(identity_retention, judge_data=judges, seed=seed)


def judge_settings(
    recipe: Recipe, seed: int | None = None, quick: bool = False, given: dict[str, Any] | None = None
) -> ValidationSettings:
    """Section `validate` of the recipe, under what is given beside it. Raises `MdgenError`."""
    from mdgen.config import checked
    from validation.settings import ValidationSettings

    content = {"seed": recipe.seed if seed is None else seed, **recipe.validate_, **(given or {})}
    settings = checked(ValidationSettings, content, "validate")
    return settings.quick() if quick else settings
