"""What happens to the codes of a vector-quantised autoencoder beside gradients: counted, averaged, started anew."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mdgen.config import CodebookConfig
from mdgen.models.vq_autoencoder import Codebook, perplexity
from mdgen.training.task import Gather

#: Share of the run after which no code starts anew, so that averages of the weights have settled codes.
SETTLED = 0.8
#: Above all lots, which are below 1: of a place without a latent.
NO_LOT = 2.0


class CodebookKeeper:
    """Gathers the latents of a step over micro-batches and processes, and moves the codes once after it.

    Running means (van den Oord et al. 2017, appendix A.1). Codes hardly used start anew at latents of the step, drawn
    by lot (Dhariwal et al. 2020, section 3.1).
    """

    def __init__(self, codebook: Codebook, config: CodebookConfig) -> None:
        self.codebook, self.config = codebook, config
        codebook.codes.requires_grad_(config.update == "gradient")
        self.begin_step()

    def begin_step(self) -> None:
        self._counts: Tensor | None = None
        self._sums: Tensor | None = None
        self._drawn: Tensor | None = None  # (M, 1 + D): lot and latent, lowest lots of the step so far

    @torch.no_grad()
    def note(self, latents: Tensor, codes: Tensor, lots: Tensor, progress: float) -> None:
        """Latents [N, D, h, w], the codes [N, h, w] they were given, and a random number in [0, 1) for each."""
        cells = latents.detach().float().movedim(1, -1).flatten(0, -2)
        counts = torch.bincount(codes.flatten(), minlength=len(self.codebook.codes)).float()
        self._counts = counts if self._counts is None else self._counts + counts
        if self.config.update == "ema":
            sums = torch.zeros_like(self.codebook.codes).index_add_(0, codes.flatten(), cells)
            self._sums = sums if self._sums is None else self._sums + sums
        if self.config.restart and progress < SETTLED:
            drawn = torch.cat([lots.reshape(-1, 1), cells], dim=1)
            self._drawn = self._lowest(drawn if self._drawn is None else torch.cat([self._drawn, drawn]))

    @torch.no_grad()
    def end_step(self, gather: Gather) -> None:
        """Move the codes by what the step's latents were, in all processes alike."""
        if self._counts is None:
            return
        usage, codes, decay = self.codebook.usage, self.codebook.codes, self.config.decay
        before = decay * usage
        usage.lerp_(gather(self._counts[None]).sum(0), 1 - decay)
        if self._sums is not None:
            sums = before[:, None] * codes + (1 - decay) * gather(self._sums[None]).sum(0)
            codes.copy_(torch.where(usage[:, None] > 1e-6, sums / usage[:, None].clamp(min=1e-6), codes))
        if self._drawn is not None:
            missing = len(codes) - len(self._drawn)  # processes may have different numbers of latents, but gather equal
            drawn = gather(F.pad(self._drawn, (0, 0, 0, missing), value=NO_LOT))
            self._restart(self._lowest(drawn[drawn[:, 0] < NO_LOT])[:, 1:])

    def losses(self) -> dict[str, Tensor]:
        """Use of the codes so far: perplexity, and the share that is in use."""
        return {"perplexity": perplexity(self.codebook.usage), "codes_used": 1 - self._idle().float().mean()}

    def _idle(self) -> Tensor:
        usage = self.codebook.usage
        return usage <= max(self.config.restart, 1e-6) * usage.mean()

    def _restart(self, latents: Tensor) -> None:
        idle = self._idle().nonzero().flatten()[: len(latents)]
        self.codebook.codes[idle] = latents[: len(idle)]
        self.codebook.usage[idle] = self.codebook.usage.mean()

    def _lowest(self, drawn: Tensor) -> Tensor:
        return drawn[drawn[:, 0].argsort()[: len(self.codebook.codes)]]
