"""Pictures of a model: each is there, and what lies between two things begins and ends in them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mdgen.errors import MdgenError
from mdgen.models.conditioning import Between
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.visualize import DRAWINGS, Scene, _ends, slerp, visualize
from tests.conftest import ridges
from tests.tiny_run import tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tiny_run(tmp_path_factory.mktemp("runs") / "tiny")[0].path
    (folder / "logs" / "denoiser").mkdir(parents=True)
    lines = [json.dumps({"step": step, "total": 1 / (step + 1)}) for step in range(5)]
    (folder / "logs" / "denoiser" / "metrics.jsonl").write_text("\n".join(lines))
    return folder


def scene(run: Path) -> Scene:
    pipeline = MicroDopplerPipeline.load(run)
    return Scene(run, pipeline, Run(run).recipe().generate, ["ID_1", "ID_3"], 0, ridges(), "cpu")


def test_every_picture_is_drawn_and_animations_move(run, tmp_path) -> None:
    files = visualize(run, tmp_path, [], settings=Run(run).recipe().generate, data=ridges(), device="cpu")
    assert {file.stem for file in files} == {
        *("denoising", "interpolation", "users", "grid", "latents", "curves_denoiser", "style_transfer")
    }
    for file in files:
        with Image.open(file) as picture:
            assert picture.size[0] > 90
            if file.suffix == ".gif":
                first = np.asarray(picture.convert("RGB")).copy()
                picture.seek(picture.n_frames - 1)
                assert (np.asarray(picture.convert("RGB")) != first).any()


def test_noise_between_two_noises_is_as_large_as_they_are() -> None:
    a, b = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    assert slerp(a, b, 0.5).std() == pytest.approx(1, abs=0.05)
    assert torch.lerp(a, b, 0.5).std() < 0.8  # a straight line falls inside the sphere
    torch.testing.assert_close(slerp(a, a, 0.3), a)


def test_between_two_users_lie_both_of_them(run) -> None:
    shown = scene(run)
    noise = shown.noise(0)
    ends = [_ends(shown, shown.ids([user]), noise) for user in ("ID_1", "ID_3")]
    first, second = (torch.tensor(shown.ids([user])) for user in ("ID_1", "ID_3"))
    for share, end in zip((0.0, 1.0), ends, strict=True):
        np.testing.assert_allclose(_ends(shown, Between(first, second, share), noise), end, atol=1e-5)
    assert np.abs(ends[0] - ends[1]).max() > 0.01


def test_style_transfer_of_no_strength_is_a_reconstruction_and_of_full_strength_forgets(run) -> None:
    from mdgen.training.latents import encode

    shown = scene(run)
    latents = [encode(shown.pipeline.autoencoder, ridges().images[[row]])[0] for row in (0, 40)]
    noise = shown.noise(0)

    def transferred(row: int, strength: float) -> np.ndarray:
        return _ends(shown, [1], noise, start=latents[row], strength=strength)

    kept = shown.pipeline.decode(latents[0]).numpy()
    np.testing.assert_allclose(transferred(0, 0.0), kept, atol=1e-6)
    np.testing.assert_allclose(transferred(0, 1.0), transferred(1, 1.0), atol=1e-5)
    assert np.abs(transferred(0, 0.34) - transferred(1, 0.34)).mean() > 0.01


def test_real_pictures_of_another_size_are_refused(run, tmp_path) -> None:
    settings = Run(run).recipe().generate
    for what in ("latents", "style-transfer"):
        with pytest.raises(MdgenError, match=r"its pictures are 32x32 .* the run is for 16x16"):
            visualize(run, tmp_path, [what], settings=settings, data=ridges(size=32), device="cpu")
    assert not list(tmp_path.iterdir())


def test_wrong_wishes_are_one_line(run, tmp_path) -> None:
    settings = Run(run).recipe().generate
    for what, users, said in [
        (["faces"], None, "no such picture"),
        (["style-transfer"], None, "--data"),
        (["users"], ["ID_1"], "name two"),
        (["grid"], ["nobody"], r"no user \['nobody'\]; there are ID_1"),
    ]:
        with pytest.raises(MdgenError, match=said):
            visualize(run, tmp_path, what, settings=settings, users=users, device="cpu")
    assert set(DRAWINGS) >= {"denoising", "interpolation", "users", "grid", "latents", "curves", "style-transfer"}
