"""A small text encoder for captions, trained with the denoiser: it knows the words of the training captions."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mdgen.errors import MdgenError


def words_of(caption: str) -> list[str]:
    """Words and numbers of a caption, in lower case."""
    return re.findall(r"[^\W_]+(?:[.'-][^\W_]+)*", caption.lower())


def vocabulary(captions: Sequence[str]) -> list[str]:
    """All words of these captions, sorted."""
    return sorted({word for caption in captions for word in words_of(caption)})


class CaptionEncoder(nn.Module):
    """Ids of captions -> tokens [N, length, dim], one a word, by self-attention over them.

    captions: the text of each id; the id after the last is the null caption, of no words. words: those it knows.
    Raises `MdgenError` for a caption with another word.
    """

    def __init__(self, captions: Sequence[str], words: Sequence[str], length: int, dim: int, layers: int = 2) -> None:
        super().__init__()
        rows = [*(_word_ids(caption, words, length) for caption in captions), [len(words)] * length]
        self.register_buffer("rows", torch.tensor(rows), persistent=False)
        self.embedding = nn.Embedding(len(words) + 1, dim)
        self.positions = nn.Parameter(0.1 * torch.randn(length, dim))
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.encoder(self.embedding(self.rows[ids]) + self.positions)


def _word_ids(caption: str, words: Sequence[str], length: int) -> list[int]:
    found = words_of(caption)
    unknown = [word for word in found if word not in words]
    if unknown:
        raise MdgenError(f"caption {caption!r}: the model never read {unknown[0]!r}; it knows {', '.join(words[:20])}")
    if len(found) > length:
        raise MdgenError(f"caption {caption!r}: has {len(found)} words, the model was trained on up to {length}")
    return [list(words).index(word) for word in found] + [len(words)] * (length - len(found))
