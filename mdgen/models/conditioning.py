"""What is to be generated: the user, and further labels where a run has them, each with a null of its own.

A condition is a row of ids, [1 + labels]: the user first, then the labels by name. It becomes one vector, or one
token a label for a denoiser that attends to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from mdgen.data.labels import CAPTION, STYLE, LabelMap
from mdgen.errors import MdgenError
from mdgen.models.captions import CaptionEncoder

#: Deviation of embeddings before training. Much smaller ones leave the user unheard for most of a short run.
EMBEDDING_STD = 0.5


class UserConditioning(ModelMixin, ConfigMixin):
    """Ids of users and labels -> vectors [N, dim]. The id `num_users`, and no other, means "nobody in particular".

    condition_dropout: share of training samples of which nothing was told, user and labels. Saved with the weights:
    without it the null rows were never trained, and guidance by them would be noise.
    labels: values of each further label; the id after the last is its null. label_dropout: share of samples of which
    that label alone was not told. recorded: see `LabelMap`. style_width: numbers a recording's style is squeezed into,
    so that it says how a recording differs and leaves who it is to the user. words, caption_length: what the encoder of
    label `caption` can read. tokens: [N, T, dim] instead, one token a label and one a word.
    """

    @register_to_config
    def __init__(
        self,
        num_users: int,
        dim: int,
        condition_dropout: float,
        labels: dict[str, list[str]] | None = None,
        label_dropout: dict[str, float] | None = None,
        recorded: dict[str, list[list[int]]] | None = None,
        style_width: int = 8,
        words: list[str] | None = None,
        caption_length: int = 0,
        tokens: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_users + 1, dim)
        self.label_embeddings = nn.ModuleList()
        for name, values in sorted((labels or {}).items()):
            if name == CAPTION:
                self.label_embeddings.append(CaptionEncoder(values, words or [], caption_length, dim))
            elif name == STYLE:
                self.label_embeddings.append(_narrow(len(values) + 1, min(style_width, dim), dim))
            else:
                self.label_embeddings.append(nn.Embedding(len(values) + 1, dim))
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=EMBEDDING_STD)

    @property
    def null_id(self) -> int:
        return self.config.num_users

    @property
    def labels(self) -> LabelMap:
        """The further labels and their values, by name: a saved file keeps no other order."""
        return LabelMap(dict(sorted((self.config.labels or {}).items())), dict(self.config.recorded or {}))

    @property
    def null_ids(self) -> Tensor:
        """int64 [1 + labels]: nobody in particular, in no particular way."""
        return torch.tensor([self.null_id, *(len(values) for values in self.labels.values.values())])

    def forward(self, ids: Tensor) -> Tensor:
        """ids: int64 [N, 1 + labels], or [N] for users alone."""
        ids = self.complete(ids)
        parts = [self.embedding(ids[:, 0])]
        parts += [embed(ids[:, 1 + i]) for i, embed in enumerate(self.label_embeddings)]
        if self.config.tokens:
            return torch.cat([part if part.ndim == 3 else part[:, None] for part in parts], dim=1)
        return torch.stack([part.mean(1) if part.ndim == 3 else part for part in parts]).sum(0)

    def complete(self, ids: Tensor) -> Tensor:
        """int64 [N, 1 + labels] of ids [N] or [N, 1 + labels]; labels not given are null."""
        if ids.ndim == 2:
            return ids
        return torch.cat([ids[:, None], self.null_ids[1:].to(ids.device).expand(ids.shape[0], -1)], dim=1)

    def nobody(self, ids: Tensor) -> Tensor:
        """As many ids, all null."""
        return self.null_ids.to(ids.device).expand(ids.shape[0], -1)

    def user_alone(self, ids: Tensor) -> Tensor:
        """The same users, their labels not told."""
        return self.complete(self.complete(ids)[:, 0])

    def drop(self, ids: Tensor, generator: torch.Generator) -> Tensor:
        """int64 [N, 1 + labels]: ids with some not told, each label at its own rate, all at `condition_dropout`.

        A label is never told without the user: it then need not say again who it is.
        """
        ids = self.complete(ids)
        rates = [0.0, *(self.config.label_dropout[name] for name in self.labels.values)]
        draws = torch.rand(len(ids), 1 + len(rates), generator=generator).to(ids.device)
        dropped = draws[:, 1:] < torch.tensor(rates, device=ids.device)
        dropped |= draws[:, :1] < self.config.condition_dropout
        return torch.where(dropped, self.null_ids.to(ids.device), ids)

    def require_guidance(self, guidance_scale: float) -> None:
        """Raise `MdgenError` where a guidance scale other than 1 has no trained null user to work with."""
        if guidance_scale != 1 and self.config.condition_dropout == 0:
            raise MdgenError(
                f"guidance scale {guidance_scale:g} needs a model trained with condition dropout; this one had 0: "
                "use --guidance-scale 1, or train with diffusion.condition_dropout=0.1"
            )

    def reading(self, caption: str) -> UserConditioning:
        """Itself, or a copy that knows this caption beside those it was trained on."""
        known = self.labels
        if CAPTION not in known.values or caption in known.values[CAPTION]:
            return self
        values = {**known.values, CAPTION: [*known.values[CAPTION], caption]}
        return self.extended(self.config.num_users, LabelMap(values, known.recorded))

    @torch.no_grad()
    def extended(self, num_users: int, labels: LabelMap) -> UserConditioning:
        """A copy for more users and label values. Known ones keep their rows; new ones start as the mean of those."""
        config = {key: value for key, value in self.config.items() if not key.startswith("_")}
        new = {"num_users": num_users, "labels": labels.values, "recorded": labels.recorded}
        bigger = type(self)(**{**config, **new})
        bigger.load_state_dict(
            {
                name: _extended_rows(weight, bigger.state_dict()[name].shape)
                for name, weight in self.state_dict().items()
            }
        )
        return bigger


@dataclass(frozen=True)
class Between:
    """Conditions on the straight line from one to another. first, second: ids [N] or [N, 1 + labels].

    share: of the second, one number or [N].
    """

    first: Tensor
    second: Tensor
    share: float | Sequence[float] | Tensor


def conditions(conditioning: UserConditioning, ids: Tensor | Between) -> Tensor:
    """Vectors (or tokens) of ids, or of places between two users."""
    if isinstance(ids, Tensor):
        return conditioning(ids)
    first, second = conditioning(ids.first), conditioning(ids.second)
    share = torch.as_tensor(ids.share, dtype=first.dtype, device=first.device)
    return torch.lerp(first, second, share.view(-1, *[1] * (first.ndim - 1)))


def _narrow(count: int, width: int, dim: int) -> nn.Sequential:
    """An embedding of `width` numbers, turned to `dim` linearly; its scale is that of the others."""
    widen = nn.Linear(width, dim, bias=False)
    nn.init.normal_(widen.weight, std=width**-0.5)
    return nn.Sequential(nn.Embedding(count, width), widen)


def _extended_rows(weight: Tensor, shape: torch.Size) -> Tensor:
    """Rows of an embedding, the last of them the null, with their mean put in before it until the shape is reached."""
    new = shape[0] - weight.shape[0]
    return torch.cat([weight[:-1], weight[:-1].mean(0, keepdim=True).expand(new, -1), weight[-1:]]) if new else weight
