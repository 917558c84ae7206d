"""One recipe covers all stages: a YAML file, checked, with dotted `--set` overrides."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from mdgen.config.networks import AutoencoderConfig, ConditioningConfig, DataConfig, DenoiserConfig, DiffusionConfig
from mdgen.config.section import Section, checked
from mdgen.config.stages import (
    ClassifierConfig,
    DistillConfig,
    FineTuningConfig,
    GenerateConfig,
    JointConfig,
    PriorConfig,
    WarpsConfig,
)
from mdgen.errors import MdgenError


class Recipe(Section):
    """One recipe: everything that decides what a run computes."""

    name: str = "default"
    description: str = ""
    seed: int = Field(0, ge=0)
    data: DataConfig = DataConfig()
    autoencoder: AutoencoderConfig = AutoencoderConfig()
    denoiser: DenoiserConfig = DenoiserConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    conditioning: ConditioningConfig = ConditioningConfig()
    fine_tuning: FineTuningConfig = FineTuningConfig()
    joint: JointConfig = JointConfig()
    prior: PriorConfig = PriorConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    generate: GenerateConfig = GenerateConfig()
    distill: DistillConfig = DistillConfig()
    warps: WarpsConfig = WarpsConfig()
    validate_: dict[str, Any] = Field(
        default_factory=dict, alias="validate", description="settings of the judge; checked by validation.settings"
    )


def load_recipe(name_or_file: str | Path | None, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a YAML file, or of the name of one shipped in `configs/`, with `key.path=value` overrides.

    `None` is the recipe of all defaults. Raises `MdgenError` naming the unknown key or the wrong value.
    """
    source, text = _recipe_text(name_or_file)
    content = _read_yaml(text, source)
    if content is None:
        raise MdgenError(f"{source}: is empty; restore it, or write {{}} for a recipe of all defaults")
    if not isinstance(content, dict):
        raise MdgenError(f"{source}: a recipe is a mapping of sections, this is a {type(content).__name__}")
    for override in overrides:
        _apply_override(content, override)
    return checked(Recipe, content, source)


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML that `load_recipe` reads back to an equal one."""
    return yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True), sort_keys=False)


def shipped_recipes() -> list[str]:
    """Names of the recipes in `configs/`."""
    files = resources.files("configs").iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def _recipe_text(name_or_file: str | Path | None) -> tuple[str, str]:
    if name_or_file is None:
        return "default recipe", "{}"
    path = Path(name_or_file)
    if path.suffix in (".yaml", ".yml"):
        try:
            return str(path), path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MdgenError(
                f"{path}: cannot be read as a recipe ({error}); shipped ones: {shipped_recipes()}"
            ) from error
    if str(name_or_file) not in shipped_recipes():
        raise MdgenError(f"{name_or_file}: no such recipe; shipped ones: {', '.join(shipped_recipes())}")
    return str(name_or_file), (resources.files("configs") / f"{name_or_file}.yaml").read_text(encoding="utf-8")


def _read_yaml(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a day that no calendar has
        raise MdgenError(f"{source}: not valid YAML ({' '.join(str(error).split())})") from error


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise MdgenError(f"--set {override}: needs the form section.key=value")
    *path, last = key.split(".")
    for part in path:
        content = content.setdefault(part, {})
        if not isinstance(content, dict):
            raise MdgenError(f"--set {override}: {part!r} is a value, not a section")
    # YAML 1.1 reads 1e-4 as text; pydantic turns such text into a number where one is due.
    content[last] = _read_yaml(value, f"--set {override}")
