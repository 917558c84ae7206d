"""The run folder: everything one model needs, in diffusers' own layout, and the rules for writing into it."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout

from mdgen import __version__
from mdgen.config import Recipe, dump_recipe, load_recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.folders import atomic_folder, read_json, write_whole
from mdgen.errors import MachineError, MdgenError
from mdgen.progress import warn

Result = TypeVar("Result")

#: What a continued run takes over from the one it goes on from.
CONTINUED = (
    *("config.yaml", "users.json", "axes.json", "autoencoder", "cache", "logs", "averages", "figures"),
    "checkpoints/*/step-*",
)
#: What a claim that was stopped can leave.
_CLAIMED = {"config.yaml", "axes.json", *(f".{name}.partial" for name in ("config.yaml", "axes.json", "users.json"))}


@dataclass(frozen=True)
class Run:
    """`runs/<name>/`: `config.yaml`, `users.json`, the trained parts, `checkpoints/`, `logs/`, `figures/`."""

    path: Path

    def recipe(self, overrides: Iterable[str] = ()) -> Recipe:
        return load_recipe(self._existing("config.yaml"), overrides)

    def users(self) -> list[str]:
        """The users this run knows, in the order of their ids."""
        return read_json(self._existing("users.json"))

    def axes(self) -> dict[str, float]:
        """The physical axes of the training data, as far as they were known."""
        return read_json(self._existing("axes.json"))

    def claim(self, recipe: Recipe, data: SpectrogramSet) -> None:
        """Make a new run folder of recipe, axes and users; an old one stays as it is and must be for the same users.

        `users.json` comes last and makes it a run folder; what a claim that was stopped has left is written anew.
        """
        if (self.path / "users.json").exists():
            return self.require_users(data.users)
        if self.path.exists() and (not self.path.is_dir() or {file.name for file in self.path.iterdir()} - _CLAIMED):
            raise MdgenError(f"{self.path}: exists and is not a run folder; choose another --run")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.record(recipe)
            write_whole(self.path / "axes.json", json.dumps(data.axes()))
            write_whole(self.path / "users.json", json.dumps(data.users, ensure_ascii=False))
        except OSError as error:
            raise MachineError(f"{self.path}: cannot be written ({error.strerror}); choose another --run") from error

    def continue_from(self, source: Path) -> None:
        """Make this a new run that goes on where `source` is, which is only read. Nothing to do if it was made before.

        Checkpoints come along as they were kept, with the best; their hashes are verified when they are loaded.
        """
        self.require_other_than(source)
        if (self.path / "users.json").exists():
            return
        Run(source).users()
        with atomic_folder(self.path) as folder:
            for file in [file for pattern in CONTINUED for path in source.glob(pattern) for file in _files(path)]:
                target = folder / file.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Training here, in this process alone (or in the processes it was launched with).

        The system frees the lock when its holder dies, however it dies. Raises `MdgenError` that names the holder.
        """
        if not PartialState().is_main_process:
            yield
            return
        owner = self.path / ".lock.json"
        try:
            with FileLock(self.path / ".lock", timeout=0):
                if owner.exists():
                    warn(f"{self.path}: {_holder(owner)} died here; going on in its place")
                owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
                try:
                    yield
                finally:
                    owner.unlink(missing_ok=True)
        except Timeout as error:
            raise MdgenError(
                f"{self.path}: {_holder(owner)} is training here; wait for it, or use another --run"
            ) from error

    def record(self, recipe: Recipe) -> None:
        """Keep the recipe a stage was trained by; called when it is done, so that a refused one leaves no trace."""
        write_whole(self.path / "config.yaml", dump_recipe(recipe))

    def require_other_than(self, source: Path) -> None:
        """Raise `MdgenError` where this is the run `source` itself, which is only read: others are made of it."""
        if self.path.resolve() == source.resolve():
            raise MdgenError(f"{source}: is only read, so what is made of it needs a folder of its own; choose another")

    def require_users(self, users: list[str]) -> None:
        """One label map for data, model and output: a difference is an error."""
        known = self.users()
        if known != users:
            odd = sorted({*known} ^ {*users}) or ["their order"]
            raise MdgenError(
                f"{self.path}: is for {len(known)} users, the data set has {len(users)}; they differ in {odd[:5]}: "
                "use the data set the run was made for, or a new --run"
            )

    def require_pictures(self, data: SpectrogramSet) -> None:
        """Pictures are of the size and channels that the autoencoder was trained on: a difference is an error.

        One that does not say its size, from before it was kept, is asked for its channels alone.
        """
        config = read_json(self._existing("autoencoder/config.json"))
        size = config.get("sample_size")
        known = size if isinstance(size, list) else data.images.shape[2:]  # a number is diffusers' default
        data.require_shape((config["in_channels"], *known), f"the autoencoder of {self.path}")

    def _existing(self, name: str) -> Path:
        if not (self.path / name).exists():
            raise MdgenError(f"{self.path}: has no {name}, so it is not a run folder; train one with `mdgen train-vae`")
        return self.path / name


def row_names(data: SpectrogramSet, rows: np.ndarray) -> list[str]:
    """What a person calls these rows: their files, where known."""
    if "file" in data.table.columns:
        return data.table["file"].iloc[rows].tolist()
    return [f"{user} (row {row})" for user, row in zip(data.table["user"].iloc[rows], rows, strict=True)]


def on_main_process(compute: Callable[[], Result]) -> Result:
    """What `compute` returns in the main process; the others wait for it and get the same."""
    result = [compute() if PartialState().is_main_process else None]
    return broadcast_object_list(result)[0]  # type: ignore[return-value]


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())


def _holder(owner: Path) -> str:
    try:
        content = json.loads(owner.read_text())
        return f"process {content['pid']} on {content['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def training_data(data: SpectrogramSet) -> SpectrogramSet:
    """The rows of role `train`; every row, with a warning, where the data set has no roles."""
    train = data.training()
    if train is data:
        warn(f"{data.name}: has no roles, so all of it trains and none is left to judge by; `mdgen import` makes roles")
        return data
    if len(train.users) < 2:
        raise MdgenError(
            f"{data.name}: has {len(train.users)} user in role train; a user-conditioned model needs 2 or more"
        )
    return train


def write_model_card(run: Run, recipe: Recipe, train_data: SpectrogramSet, baseline: bool = False) -> None:
    """`model_card.md`: what the model is, what it saw, and what may be said of its output."""
    model, how = "latent diffusion model", f"denoiser: {recipe.denoiser.kind}; objective: {recipe.diffusion.objective}"
    if baseline:
        model, how = "autoregressive model of codes", f"transformer of width {recipe.prior.width}, baseline"
    check_file = run.path / "logs" / "autoencoder_check.json"
    check = json.loads(check_file.read_text()) if check_file.exists() else {}
    kept = check.get("identity_retention")
    lines = [
        f"# {run.path.name}",
        "",
        f"User-conditioned {model}, recipe `{recipe.name}`, mdgen {__version__}.",
        "",
        f"- users: {len(train_data.users)}; training spectrograms: {len(train_data)}",
        f"- training data sha256: {train_data.fingerprint()}",
        f"- autoencoder: {recipe.autoencoder.kind}, {recipe.autoencoder.latent_channels} latent channels, "
        f"perceptual loss: {recipe.autoencoder.perceptual}",
        f"- identity kept by reconstructions: {'not measured' if kept is None else f'{kept:.3f}'}",
        f"- {how}; condition dropout: {recipe.diffusion.condition_dropout:g}",
        "",
        "What it generates is synthetic. Judge it with `mdgen validate` before using it; it may resemble people whose",
        "recordings it was trained on.",
    ]
    (run.path / "model_card.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
