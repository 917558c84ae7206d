"""Seeing what a model has learned: how it denoises, what lies between its noises and its users, how it was trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.labels import known_users
from mdgen.device import resolve_device
from mdgen.errors import MdgenError
from mdgen.figures import contact_sheet, save_animation, save_grid, save_map
from mdgen.generate import generate, sample_generator
from mdgen.models.conditioning import Between
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.training.journal import draw_curves
from mdgen.training.latents import encode, require_size

#: Rows of a picture, columns of a strip, frames of an animation.
ROWS, COLUMNS, FRAMES = 4, 8, 25
#: Shares of the way that style transfer goes back to noise.
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
#: Samples of each user on the map.
_ON_MAP = 24


@dataclass
class Scene:
    """A model, how to sample it, and what is asked for. users: those to show; data: real spectrograms, where needed."""

    run: Path
    pipeline: MicroDopplerPipeline
    settings: GenerateConfig
    users: list[str]
    seed: int
    data: SpectrogramSet | None
    device: str

    @property
    def axes(self) -> dict[str, float]:
        return Run(self.run).axes()

    def ids(self, users: Sequence[str]) -> list[int]:
        return [list(self.pipeline.config.users).index(user) for user in users]

    def generators(self, users: Sequence[str]) -> list[torch.Generator]:
        """Those of sample 0 of the first of these users, 1 of the second, and so on."""
        return [sample_generator(self.seed, user, index) for index, user in enumerate(users)]

    def noise(self, index: int) -> Tensor:
        """[1, c, h, w], the same for every user."""
        generator = sample_generator(self.seed, "", index)
        return torch.randn(1, *self.pipeline.config.latent_shape, generator=generator).to(self.pipeline.device)

    def states(
        self, ids: list[int] | Between, generators: list[torch.Generator], **changes: object
    ) -> list[np.ndarray]:
        """Pictures [N, C, H, W] of the latents before the first evaluation and after each."""
        settings = {
            "guidance_scale": self.settings.guidance_scale,
            "num_inference_steps": self.settings.steps,
            "guidance_interval": self.settings.guidance_interval,
            "guidance_rescale": self.settings.guidance_rescale,
        }
        states = self.pipeline.trajectory(ids, generators, **{**settings, **changes})  # type: ignore[arg-type]
        return [self.pipeline.decode(state).cpu().numpy() for state in states]

    def real(self, what: str) -> SpectrogramSet:
        """The real data; raises `MdgenError` where none were given."""
        if self.data is None:
            raise MdgenError(f"--what {what}: shows real spectrograms too; give a data set with --data")
        return self.data


def visualize(
    run: Path,
    out: Path,
    what: Sequence[str],
    *,
    settings: GenerateConfig,
    users: Sequence[str] | None = None,
    data: SpectrogramSet | None = None,
    seed: int = 0,
    device: str = "auto",
) -> list[Path]:
    """Draw each of `what` (names of `DRAWINGS`; empty: all that can be drawn) into the folder `out`; returns the files.

    users: those to show, of the run; by default its first four. Interpolation and style transfer take two of them.
    data: real spectrograms to show beside; raises `MdgenError` where they are of another size than the run makes.
    """
    unknown = [name for name in what if name not in DRAWINGS]
    if unknown:
        raise MdgenError(f"--what {unknown[0]}: no such picture; choose from {', '.join(DRAWINGS)}")
    pipeline = MicroDopplerPipeline.load(run)
    pipeline.use_sampler(settings.sampler)
    pipeline.require_settings(settings.guidance_scale, settings.steps)
    pipeline.precision = settings.precision
    pipeline.to(resolve_device(device))
    if data is not None:
        require_size(pipeline, data)
    shown = known_users(users or pipeline.config.users[:ROWS], pipeline.config.users, str(run))
    scene = Scene(run, pipeline, settings, shown, seed, data, device)
    chosen = what or [name for name in DRAWINGS if data is not None or name != "style-transfer"]
    return [file for name in chosen for file in DRAWINGS[name](scene, out)]


def draw_denoising(scene: Scene, out: Path) -> list[Path]:
    """From noise to data, a user a row, and the same as an animation."""
    users = scene.users[:ROWS]
    states = scene.states(scene.ids(users), scene.generators(users))
    shown = np.linspace(0, len(states) - 1, min(COLUMNS, len(states))).round().astype(int)
    rows = [[states[i][row] for i in shown] for row in range(len(users))]
    titles = [f"{i} of {len(states) - 1}" for i in shown]
    save_grid(rows, users, titles, out / "denoising.png", scene.axes)
    save_animation([list(state) for state in states], out / "denoising.gif")
    return [out / "denoising.png", out / "denoising.gif"]


def draw_interpolation(scene: Scene, out: Path) -> list[Path]:
    """Between two noises, along the sphere they lie on, for each user."""
    users = scene.users[:ROWS]
    rows, frames = [], []
    for user in users:
        between = [slerp(scene.noise(0), scene.noise(1), share) for share in np.linspace(0, 1, FRAMES)]
        made = _ends(scene, scene.ids([user]) * FRAMES, torch.cat(between))
        rows.append([made[i] for i in _columns()])
        frames.append(made)
    titles = [f"{i / (FRAMES - 1):.2f}" for i in _columns()]
    save_grid(rows, users, titles, out / "interpolation.png", scene.axes)
    save_animation([list(frame) for frame in zip(*frames, strict=True)], out / "interpolation.gif")
    return [out / "interpolation.png", out / "interpolation.gif"]


def draw_users(scene: Scene, out: Path) -> list[Path]:
    """Between the embeddings of two users, each row from a noise of its own."""
    first, second = _two(scene, "users")
    start, end = (torch.tensor(scene.ids([user]) * FRAMES) for user in (first, second))
    between = Between(start, end, torch.linspace(0, 1, FRAMES))
    made = [_ends(scene, between, scene.noise(row).repeat(FRAMES, 1, 1, 1)) for row in range(ROWS)]
    titles = [f"{i / (FRAMES - 1):.2f}" for i in _columns()]
    titles[0], titles[-1] = first, second
    rows = [[images[i] for i in _columns()] for images in made]
    save_grid(rows, [f"noise {row}" for row in range(ROWS)], titles, out / "users.png", scene.axes)
    save_animation([list(frame) for frame in zip(*made, strict=True)], out / "users.gif")
    return [out / "users.png", out / "users.gif"]


def draw_grid(scene: Scene, out: Path) -> list[Path]:
    """Samples of each user with scales in m/s and s."""
    contact_sheet(_samples(scene, COLUMNS), out / "grid.png", COLUMNS, scene.axes)
    return [out / "grid.png"]


def draw_latents(scene: Scene, out: Path) -> list[Path]:
    """A map of the latent space (t-SNE of 30 principal components): synthetic, and real where given, by user."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    sets = {"synthetic": _samples(scene, _ON_MAP)}
    if scene.data is not None:
        of_users = scene.data.select(scene.data.table["user"].isin(scene.users).to_numpy())
        rng = np.random.default_rng(scene.seed)
        sets["real"] = of_users.select(rng.permutation(len(of_users))[: len(sets["synthetic"])])
    encoded = {
        name: encode(scene.pipeline.autoencoder, data.images)[0].flatten(1).numpy() for name, data in sets.items()
    }
    everything = np.concatenate(list(encoded.values()))
    components = PCA(min(30, *everything.shape), random_state=scene.seed).fit_transform(everything)
    perplexity = min(30, max(2, len(everything) // 4))
    placed = TSNE(init="pca", perplexity=perplexity, random_state=scene.seed).fit_transform(components)
    points, start = {}, 0
    for name, data in sets.items():
        points[name] = (placed[start : start + len(data)], data.table["user"].to_numpy())
        start += len(data)
    save_map(points, out / "latents.png", "latents: neighbours are alike, distances further off mean nothing (t-SNE)")
    return [out / "latents.png"]


def draw_curves_of_run(scene: Scene, out: Path) -> list[Path]:
    """Losses and rates of every stage trained here."""
    files = []
    for metrics in sorted((scene.run / "logs").glob("*/metrics.jsonl")):
        file = out / f"curves_{metrics.parent.name}.png"
        draw_curves(metrics, file)
        files += [file] if file.exists() else []
    if not files:
        raise MdgenError(f"{scene.run}: has no logs/*/metrics.jsonl, so there are no curves to draw")
    return files


def draw_style_transfer(scene: Scene, out: Path) -> list[Path]:
    """Real spectrograms of one user, noised part of the way and denoised as another (SDEdit; Meng et al. 2022).

    A strength of 0 keeps the recording, 1 forgets it: in between its course in time stays and the person changes.
    """
    first, second = _two(scene, "style-transfer")
    real = scene.real("style-transfer")
    theirs = real.select(((real.table["user"] == first) & (real.table["split"] != "train")).to_numpy())
    if len(theirs) == 0:
        theirs = real.select((real.table["user"] == first).to_numpy())
    if len(theirs) == 0:
        raise MdgenError(f"{real.name}: holds no spectrogram of {first!r}; name another user with --users")
    originals = theirs.select(np.linspace(0, len(theirs) - 1, min(ROWS, len(theirs))).round().astype(int))
    latents = encode(scene.pipeline.autoencoder, originals.images)[0].to(scene.pipeline.device)
    columns = [originals.images]
    for strength in STRENGTHS:
        noise = torch.cat([scene.noise(row) for row in range(len(latents))])
        changed = {"start": latents, "strength": strength, "noise": noise}
        columns.append(_ends(scene, scene.ids([second]) * len(latents), **changed))
    rows = [[column[row] for column in columns] for row in range(len(originals))]
    titles = [f"real, {first}", *(f"{strength:g} to {second}" for strength in STRENGTHS)]
    save_grid(rows, [f"window {row + 1}" for row in range(len(rows))], titles, out / "style_transfer.png", scene.axes)
    return [out / "style_transfer.png"]


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """From a to b on the great circle through both (Shoemake 1985), so that noise stays as large as noise is."""
    angle = torch.arccos(((a * b).sum() / (a.norm() * b.norm())).clamp(-1, 1))
    if angle.sin().abs() < 1e-6:
        return torch.lerp(a, b, share)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


def _ends(scene: Scene, ids: list[int] | Between, noise: Tensor, **changes: object) -> np.ndarray:
    """Pictures [N, C, H, W] that these noises end in."""
    generators = [sample_generator(scene.seed, "", row) for row in range(len(noise))]
    return scene.states(ids, generators, noise=noise, **changes)[-1]


def _samples(scene: Scene, per_user: int) -> SpectrogramSet:
    settings = scene.settings.model_copy(update={"per_user": per_user})
    return generate(scene.run, settings, seed=scene.seed, users=scene.users, device=scene.device)


def _two(scene: Scene, what: str) -> tuple[str, str]:
    if len(scene.users) < 2:
        raise MdgenError(f"--what {what}: goes from one user to another; name two with --users a,b")
    return scene.users[0], scene.users[1]


def _columns() -> list[int]:
    return np.linspace(0, FRAMES - 1, COLUMNS).round().astype(int).tolist()


DRAWINGS: dict[str, Callable[[Scene, Path], list[Path]]] = {
    "denoising": draw_denoising,
    "interpolation": draw_interpolation,
    "users": draw_users,
    "grid": draw_grid,
    "latents": draw_latents,
    "curves": draw_curves_of_run,
    "style-transfer": draw_style_transfer,
}
