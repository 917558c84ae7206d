"""The run folder: everything one model needs, in diffusers' own layout, and the rules for writing into it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mdgen import __version__
from mdgen.config import Recipe, dump_recipe, load_recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MachineError, MdgenError
from mdgen.progress import warn


@dataclass(frozen=True)
class Run:
    """`runs/<name>/`: `config.yaml`, `users.json`, the trained parts, `checkpoints/`, `logs/`, `figures/`."""

    path: Path

    def recipe(self, overrides: Iterable[str] = ()) -> Recipe:
        return load_recipe(self._existing("config.yaml"), overrides)

    def users(self) -> list[str]:
        """The users this run knows, in the order of their ids."""
        return json.loads(self._existing("users.json").read_text(encoding="utf-8"))

    def axes(self) -> dict[str, float]:
        """The physical axes of the training data, as far as they were known."""
        return json.loads(self._existing("axes.json").read_text(encoding="utf-8"))

    def claim(self, recipe: Recipe, data: SpectrogramSet) -> None:
        """Make a new run folder of recipe, users and axes; an old one stays as it is and must be for the same users."""
        if (self.path / "users.json").exists():
            return self.require_users(data.users)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise MdgenError(f"{self.path}: exists and is not a run folder; choose another --run")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "users.json").write_text(json.dumps(data.users, ensure_ascii=False), encoding="utf-8")
            (self.path / "axes.json").write_text(json.dumps(data.axes()), encoding="utf-8")
            self.record(recipe)
        except OSError as error:
            raise MachineError(f"{self.path}: cannot be written ({error.strerror}); choose another --run") from error

    def record(self, recipe: Recipe) -> None:
        """Keep the recipe a stage was trained by; called when it is done, so that a refused one leaves no trace."""
        (self.path / "config.yaml").write_text(dump_recipe(recipe), encoding="utf-8")

    def require_users(self, users: list[str]) -> None:
        """One label map for data, model and output: a difference is an error."""
        known = self.users()
        if known != users:
            odd = sorted({*known} ^ {*users}) or ["their order"]
            raise MdgenError(
                f"{self.path}: is for {len(known)} users, the data set has {len(users)}; they differ in {odd[:5]}: "
                "use the data set the run was made for, or a new --run"
            )

    def _existing(self, name: str) -> Path:
        if not (self.path / name).exists():
            raise MdgenError(f"{self.path}: has no {name}, so it is not a run folder; train one with `mdgen train-vae`")
        return self.path / name


def training_data(data: SpectrogramSet) -> SpectrogramSet:
    """The rows of role `train`; every row, with a warning, where the data set has no roles."""
    if (data.table["split"] == "").all():
        warn(f"{data.name}: has no roles, so all of it trains and none is left to judge by; `mdgen import` makes roles")
        return data
    train = data.role("train")
    if len(train) == 0:
        raise MdgenError(f"{data.name}: no row has split 'train'; import it with roles")
    if len(train.users) < 2:
        raise MdgenError(
            f"{data.name}: has {len(train.users)} user in role train; a user-conditioned model needs 2 or more"
        )
    return train


def write_model_card(run: Run, recipe: Recipe, train_data: SpectrogramSet) -> None:
    """`model_card.md`: what the model is, what it saw, and what may be said of its output."""
    check_file = run.path / "logs" / "autoencoder_check.json"
    check = json.loads(check_file.read_text()) if check_file.exists() else {}
    kept = check.get("identity_retention")
    lines = [
        f"# {run.path.name}",
        "",
        f"User-conditioned latent diffusion model, recipe `{recipe.name}`, mdgen {__version__}.",
        "",
        f"- users: {len(train_data.users)}; training spectrograms: {len(train_data)}",
        f"- training data sha256: {train_data.fingerprint()}",
        f"- autoencoder: {recipe.autoencoder.kind}, {recipe.autoencoder.latent_channels} latent channels, "
        f"perceptual loss: {recipe.autoencoder.perceptual}",
        f"- identity kept by reconstructions: {'not measured' if kept is None else f'{kept:.3f}'}",
        f"- denoiser: {recipe.denoiser.kind}; objective: {recipe.diffusion.objective}; "
        f"condition dropout: {recipe.diffusion.condition_dropout:g}",
        "",
        "What it generates is synthetic. Judge it with `mdgen validate` before using it; it may resemble people whose",
        "recordings it was trained on.",
    ]
    (run.path / "model_card.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
