"""Denoisers of every kind: where they attend, what they are told, which grids they refuse."""

from __future__ import annotations

import pytest
import torch

from mdgen.config import DenoiserConfig, load_recipe
from mdgen.data.labels import LabelMap
from mdgen.errors import MdgenError
from mdgen.models.captions import CaptionEncoder, vocabulary
from mdgen.models.conditioning import UserConditioning
from mdgen.models.denoiser import build_denoiser

CAPTIONS = ["user 7 walking towards, fast", "user 8 walking away"]


def unet(kind: str = "unet", **fields) -> torch.nn.Module:
    return build_denoiser(DenoiserConfig(kind=kind, width=32, depth=1, heads=2, levels=(1, 2), **fields), 4, (8, 8))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["unet", "unet-cross"])
def test_a_unet_attends_where_it_is_told_to(kind: str) -> None:
    def attends(**fields) -> list[bool]:
        return ["Attn" in type(block).__name__ for block in unet(kind, **fields).down_blocks]

    assert attends() == [False, True]
    assert attends(attention=(8,)) == [True, False]
    assert attends(attention=(8, 4)) == [True, True]
    with pytest.raises(MdgenError, match="grids are 8, 4 high"):
        unet(kind, attention=(16,))


def test_a_grid_that_cannot_be_halved_is_refused_with_the_mend() -> None:
    with pytest.raises(MdgenError, match="or kind mlp"):
        build_denoiser(DenoiserConfig(kind="unet", width=32), 128, (1, 1))
    with pytest.raises(MdgenError, match="patch=1"):
        build_denoiser(DenoiserConfig(patch=2), 4, (5, 4))
    with pytest.raises(MdgenError, match="is for U-Nets"):
        load_recipe(None, ["denoiser.kind=mlp", "denoiser.attention=[8]"])


def test_vector_latents_have_a_network_of_their_own() -> None:
    mlp = build_denoiser(DenoiserConfig(kind="mlp", width=64, depth=2), 128, (1, 1))
    condition = torch.randn(3, mlp.condition_dim)
    assert mlp(torch.randn(3, 128, 1, 1), torch.tensor(7.0), class_labels=condition).sample.shape == (3, 128, 1, 1)


def test_cross_attention_hears_every_token(tmp_path) -> None:
    torch.manual_seed(0)
    denoiser = unet("unet-cross")
    for parameter in denoiser.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    denoiser.eval()
    sample, time = torch.randn(2, 4, 8, 8), torch.tensor([100.0, 900.0])
    tokens = torch.randn(2, 3, denoiser.condition_dim)
    first = denoiser(sample, time, class_labels=tokens).sample
    for token in range(3):
        moved = tokens.clone()
        moved[:, token] += 1
        assert (denoiser(sample, time, class_labels=moved).sample - first).abs().amax(dim=(0, 2, 3)).min() > 0
    denoiser.save_pretrained(tmp_path)
    again = type(denoiser).from_pretrained(tmp_path)
    torch.testing.assert_close(again(sample, time, class_labels=tokens).sample, first)


def captioned(tokens: bool) -> UserConditioning:
    torch.manual_seed(0)
    words = vocabulary(CAPTIONS)
    return UserConditioning(
        2, 16, 0.1, {"caption": CAPTIONS}, {"caption": 0.1}, {"caption": [[0], [1]]}, 8, words, 5, tokens
    )


def test_a_caption_is_one_token_a_word_or_their_mean() -> None:
    ids = torch.tensor([[0, 0], [1, 1], [0, 2]])
    assert captioned(tokens=True)(ids).shape == (3, 1 + 5, 16)
    assert captioned(tokens=False)(ids).shape == (3, 16)


def test_captions_of_known_words_can_be_put_together_anew(tmp_path) -> None:
    model = captioned(tokens=True)
    more = model.reading("User 8, walking fast!")
    first = more(torch.tensor([[1, 2]]))
    assert more.labels.values["caption"][2] == "User 8, walking fast!"
    torch.testing.assert_close(more(torch.tensor([[0, 0]])), model(torch.tensor([[0, 0]])))
    torch.testing.assert_close(more(torch.tensor([[0, 3]])), model(torch.tensor([[0, 2]])))  # null
    assert (first - more(torch.tensor([[1, 1]]))).abs().max() > 0.1
    with pytest.raises(MdgenError, match="never read 'jumping'"):
        model.reading("user 8 jumping")
    model.save_pretrained(tmp_path)
    again = UserConditioning.from_pretrained(tmp_path)
    torch.testing.assert_close(again(torch.tensor([[0, 1]])), model(torch.tensor([[0, 1]])))


def test_the_order_of_words_matters() -> None:
    torch.manual_seed(0)
    encoder = CaptionEncoder(["a b", "b a"], ["a", "b"], 2, 16)
    one, other = encoder(torch.tensor([0, 1])).mean(1)
    assert (one - other).abs().max() > 1e-3


def test_labels_are_kept_by_name_whatever_order_they_came_in(tmp_path) -> None:
    labels = LabelMap({"activity": ["run", "walk"], "style": ["a", "b", "c"]}, {})
    model = UserConditioning(2, 8, 0.1, dict(reversed(labels.values.items())), {"style": 0.1, "activity": 0.1}, {})
    model.save_pretrained(tmp_path)
    again = UserConditioning.from_pretrained(tmp_path)
    ids = torch.tensor([[0, 1, 2]])
    torch.testing.assert_close(again(ids), model(ids))
    assert list(again.labels.values) == ["activity", "style"]
