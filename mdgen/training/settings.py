"""What a training was started with, and whether it goes on with the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mdgen.config import TrainingConfig
from mdgen.errors import MdgenError

#: Settings that change how a run is computed, but not what: they may differ when it goes on.
MAY_CHANGE = {
    *("micro_batch_size", "gradient_checkpointing", "compile", "memory_saver", "average_on_cpu", "sharded"),
    *("checkpoint_every", "keep_checkpoints", "pictures_every"),
}


def binding_settings(seed: int, config: TrainingConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """All that decides the result of a training, with dotted keys. settings: what is beside its own section."""
    training = {key: value for key, value in config.model_dump(mode="json").items() if key not in MAY_CHANGE}
    return flat({"seed": seed, "training": training, **settings})


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys."""
    flattened: dict[str, Any] = {}
    for key, value in tree.items():
        flattened |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flattened


def require_equal(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    """Raise `MdgenError` that lists how settings differ from those a run was trained with."""
    differences = [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    if differences:
        raise MdgenError(
            f"{folder}: was trained with other settings ({'; '.join(differences)[:400]}); "
            "use the same ones to go on, or a new --run"
        )
