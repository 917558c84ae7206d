"""Autoregressive model of the codes of a vector-quantised autoencoder: each code given all before it and a condition.

The baseline that diffusion is compared with (van den Oord et al. 2017, section 3.3; a transformer as in Esser et al.
2021). Codes are read row by row.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

#: Keys and values of the codes so far, of one block: each [N, heads, T, D/heads].
Past = tuple[Tensor, Tensor]


class CausalBlock(nn.Module):
    """Self-attention to what came before, and MLP, each around an identity."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """x [N, T, D] after `past`; with a past, T is 1."""
        n, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=past is None, dropout_p=dropout)
        x = x + self.out(attended.transpose(1, 2).reshape(n, length, width))
        return x + self.mlp(self.norm2(x)), (k, v)


class TokenPrior(ModelMixin, ConfigMixin):
    """p(code | codes before it, condition) for codes 0..codebook_size-1 on a grid of `sample_size` (height, width)."""

    @register_to_config
    def __init__(
        self,
        codebook_size: int,
        sample_size: tuple[int, int],
        width: int = 256,
        depth: int = 6,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(codebook_size, width)
        self.positions = nn.Parameter(torch.empty(1, sample_size[0] * sample_size[1], width))
        self.blocks = nn.ModuleList(CausalBlock(width, heads, dropout) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, codebook_size)
        for weights in (self.embed.weight, self.positions):
            nn.init.normal_(weights, std=0.02)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def condition_dim(self) -> int:
        return self.config.width

    @property
    def tokens(self) -> int:
        return self.positions.shape[1]

    def forward(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Logits [N, T, codebook_size] of codes [N, T] (T: all), each from those before it; condition: [N, width]."""
        before = F.pad(self.embed(codes[:, :-1]), (0, 0, 1, 0))  # nothing comes before the first
        x = before + self.positions + condition[:, None]
        for block in self.blocks:
            x, _ = block(x)
        return self.head(self.norm(x))

    def following(self, code: Tensor | None, condition: Tensor, past: list[Past]) -> tuple[Tensor, list[Past]]:
        """Logits [N, codebook_size] of the code after `code` [N] (`None`: of the first), and the new past."""
        position = past[0][0].shape[2] if past else 0
        x = (condition if code is None else self.embed(code) + condition)[:, None] + self.positions[:, [position]]
        kept = []
        for i, block in enumerate(self.blocks):
            x, now = block(x, past[i] if past else None)
            kept.append(now)
        return self.head(self.norm(x[:, 0])), kept
