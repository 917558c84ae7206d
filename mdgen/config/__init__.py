"""Every setting of a recipe, typed and checked: one YAML file covers all stages, dotted `--set` options override it."""

from mdgen.config.networks import (
    AdversarialConfig,
    AugmentConfig,
    AutoencoderConfig,
    CodebookConfig,
    ConditioningConfig,
    DataConfig,
    DenoiserConfig,
    DiffusionConfig,
)
from mdgen.config.recipe import Recipe, dump_recipe, load_recipe, shipped_recipes
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
from mdgen.config.training import TrainingConfig

__all__ = [
    "AdversarialConfig",
    "AugmentConfig",
    "AutoencoderConfig",
    "ClassifierConfig",
    "CodebookConfig",
    "ConditioningConfig",
    "DataConfig",
    "DenoiserConfig",
    "DiffusionConfig",
    "DistillConfig",
    "FineTuningConfig",
    "GenerateConfig",
    "JointConfig",
    "PriorConfig",
    "Recipe",
    "Section",
    "TrainingConfig",
    "WarpsConfig",
    "checked",
    "dump_recipe",
    "load_recipe",
    "shipped_recipes",
]
