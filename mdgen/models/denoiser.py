"""Denoisers: noisy latents, a time and a condition in, the prediction of the objective out.

All kinds are called like diffusers' U-Net: `denoiser(sample, timestep, class_labels=condition).sample`, with latents
[N, C, H, W], timesteps [N] in 0..1000 and conditions [N, condition_dim], or tokens [N, T, condition_dim] for those that
`takes_tokens`.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DConditionModel, UNet2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps, get_2d_sincos_pos_embed
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn
from torch.nn import functional as F

from mdgen.config import DenoiserConfig
from mdgen.errors import MdgenError


class TransformerBlock(nn.Module):
    """Self-attention and MLP, each shifted, scaled and gated by the condition (adaLN-Zero; Peebles & Xie 2023)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.query_norm = nn.RMSNorm(width // heads)
        self.key_norm = nn.RMSNorm(width // heads)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:  # (N, T, D), (N, D)
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self._attention(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)

    def _attention(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # each (N, heads, T, D/heads)
        q, k = self.query_norm(q).to(v.dtype), self.key_norm(k).to(v.dtype)
        attended = _attend_on_cpu(q, k, v) if x.device.type == "cpu" else F.scaled_dot_product_attention(q, k, v)
        return self.out(attended.transpose(1, 2).reshape(n, tokens, width))


def _attend_on_cpu(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Plain attention: for these few tokens, forward and backward in bf16 take a third of the fused kernel's time."""
    return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1).to(v.dtype) @ v


class LatentTransformer(ModelMixin, ConfigMixin):
    """A small diffusion transformer on patches of the latent grid; `sample_size` is that grid's (height, width)."""

    @register_to_config
    def __init__(
        self,
        in_channels: int,
        sample_size: tuple[int, int],
        patch: int = 2,
        width: int = 256,
        depth: int = 6,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.fold = nn.PixelUnshuffle(patch)
        self.unfold = nn.PixelShuffle(patch)
        token_size = in_channels * patch * patch
        grid = (sample_size[0] // patch, sample_size[1] // patch)
        self.embed = nn.Linear(token_size, width)
        positions = get_2d_sincos_pos_embed(width, grid, output_type="pt").float().reshape(1, -1, width)
        self.positions = nn.Parameter(positions)
        self.time_frequencies = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(width, width)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, token_size)
        for layer in (self.modulation, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    takes_tokens = False

    @property
    def condition_dim(self) -> int:
        return self.config.width

    def forward(self, sample: Tensor, timestep: Tensor, class_labels: Tensor) -> UNet2DOutput:
        folded = self.fold(sample)  # (N, token, h, w)
        x = self.embed(folded.flatten(2).transpose(1, 2)) + self.positions  # (N, h*w, D)
        timestep = torch.as_tensor(timestep, device=sample.device).expand(sample.shape[0])
        condition = F.silu(self.time_embedding(self.time_frequencies(timestep)) + class_labels)
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=-1)
        out = self.head(self.norm(x) * (1 + scale) + shift)
        return UNet2DOutput(sample=self.unfold(out.transpose(1, 2).reshape(folded.shape)))


class ResidualLayer(nn.Module):
    """Two linear layers around an identity, shifted, scaled and gated by the condition (adaLN-Zero)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )
        self.modulation = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:  # (N, D), (N, D)
        shift, scale, gate = self.modulation(condition).chunk(3, dim=-1)
        return x + gate * self.mlp(self.norm(x) * (1 + scale) + shift)


class LatentMLP(ModelMixin, ConfigMixin):
    """A residual network on the latents as one vector: for those without a grid, [N, C, 1, 1]."""

    takes_tokens = False

    @register_to_config
    def __init__(
        self, in_channels: int, sample_size: tuple[int, int], width: int = 512, depth: int = 6, dropout: float = 0.0
    ) -> None:
        super().__init__()
        size = in_channels * sample_size[0] * sample_size[1]
        self.embed = nn.Linear(size, width)
        self.time_frequencies = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(width, width)
        self.blocks = nn.ModuleList(ResidualLayer(width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def condition_dim(self) -> int:
        return self.config.width

    def forward(self, sample: Tensor, timestep: Tensor, class_labels: Tensor) -> UNet2DOutput:
        timestep = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        condition = F.silu(self.time_embedding(self.time_frequencies(timestep)) + class_labels)
        x = self.embed(sample.flatten(1))
        for block in self.blocks:
            x = block(x, condition)
        return UNet2DOutput(sample=self.head(self.norm(x)).view_as(sample))


class LatentUNet(UNet2DModel):
    """diffusers' UNet2DModel; its class embedding is the condition vector itself."""

    takes_tokens = False

    @property
    def condition_dim(self) -> int:
        return 4 * self.config.block_out_channels[0]


class LatentCrossUNet(UNet2DConditionModel):
    """diffusers' UNet2DConditionModel: its blocks that attend look at the condition's tokens, not only at the grid."""

    takes_tokens = True

    @property
    def condition_dim(self) -> int:
        return self.config.cross_attention_dim

    def forward(self, sample: Tensor, timestep: Tensor, class_labels: Tensor) -> UNet2DOutput:  # type: ignore[override]
        return super().forward(sample, timestep, encoder_hidden_states=class_labels)


Denoiser = LatentTransformer | LatentMLP | LatentUNet | LatentCrossUNet


def build_denoiser(config: DenoiserConfig, in_channels: int, sample_size: tuple[int, int]) -> Denoiser:
    """The denoiser of a recipe for latents of `in_channels` on a grid of `sample_size`.

    Raises `MdgenError` where the grid does not suit it.
    """
    if config.kind == "mlp":
        return LatentMLP(in_channels, sample_size, config.width, config.depth, config.dropout)
    if config.kind == "dit":
        if sample_size[0] % config.patch or sample_size[1] % config.patch:
            raise MdgenError(f"denoiser.patch {config.patch} does not divide latents of {sample_size}; use patch=1")
        return LatentTransformer(
            in_channels=in_channels,
            sample_size=sample_size,
            patch=config.patch,
            width=config.width,
            depth=config.depth,
            heads=config.heads,
            dropout=config.dropout,
        )
    return _build_unet(config, in_channels, sample_size)


def _build_unet(config: DenoiserConfig, in_channels: int, sample_size: tuple[int, int]) -> LatentUNet | LatentCrossUNet:
    attention = _attention_levels(config, sample_size)
    cross = config.kind == "unet-cross"
    prefix = "CrossAttn" if cross else "Attn"
    common = {
        "sample_size": sample_size,
        "in_channels": in_channels,
        "out_channels": in_channels,
        "layers_per_block": config.depth,
        "block_out_channels": tuple(config.width * m for m in config.levels),
        "down_block_types": tuple(f"{prefix}DownBlock2D" if a else "DownBlock2D" for a in attention),
        "up_block_types": tuple(f"{prefix}UpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
        "resnet_time_scale_shift": "scale_shift",
        "dropout": config.dropout,
    }
    if cross:
        heads = tuple(config.heads * m for m in config.levels)  # its `attention_head_dim` is a number of heads
        unet = LatentCrossUNet(**common, cross_attention_dim=4 * config.width, attention_head_dim=heads)
    else:
        unet = LatentUNet(**common, attention_head_dim=config.width // config.heads, class_embed_type="identity")
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    return unet


def _attention_levels(config: DenoiserConfig, sample_size: tuple[int, int]) -> list[bool]:
    """Which levels of a U-Net attend; the coarsest alone sees the whole window at least cost."""
    factor = 2 ** (len(config.levels) - 1)
    if sample_size[0] % factor or sample_size[1] % factor:
        raise MdgenError(
            f"a U-Net of {len(config.levels)} levels halves the grid {len(config.levels) - 1} times, and latents of "
            f"{sample_size} cannot be; use fewer denoiser.levels" + (", or kind mlp" if max(sample_size) == 1 else "")
        )
    heights = [sample_size[0] >> level for level in range(len(config.levels))]
    missing = sorted(set(config.attention) - set(heights))
    if missing:
        raise MdgenError(f"denoiser.attention {missing[0]}: the U-Net's grids are {', '.join(map(str, heights))} high")
    return [height in config.attention if config.attention else height == heights[-1] for height in heights]
