"""EfficientNet-B0 as torchvision writes it, without stochastic depth and dropout."""

from collections import OrderedDict

import torch
from torch import nn

from tests.reference.common import CLASSES, inverted_bottlenecks
from tests.reference.torch_models import Split
from tests.reference.torch_models.images import channels_last, convolution, norm

STEM, EPSILON = 32, 1e-3


def activated(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, norm(conv.out_channels, EPSILON), nn.SiLU(inplace=True))


class Block(nn.Module):
    """Widened by ``ratio`` inside, where squeeze-and-excitation scales the channels."""

    def __init__(self, entering: int, leaving: int, ratio: int, kernel: int, stride: int) -> None:
        super().__init__()
        inside, squeezed = entering * ratio, entering // 4
        self.residual = stride == 1 and entering == leaving
        self.expand = activated(convolution(entering, inside, 1)) if ratio > 1 else nn.Identity()
        self.spatial = activated(convolution(inside, inside, kernel, stride, inside))
        self.reduce, self.excite = nn.Linear(inside, squeezed), nn.Linear(squeezed, inside)
        self.project, self.norm = convolution(inside, leaving, 1), norm(leaving, EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.spatial(self.expand(x))
        gate = self.excite(nn.functional.silu(self.reduce(out.mean((2, 3))))).sigmoid()
        out = self.norm(self.project(out * gate[:, :, None, None]))
        if self.residual:
            out += x
        return out


def make() -> nn.Sequential:
    inner = inverted_bottlenecks(STEM)
    leaving, wide = inner[-1][1], 4 * inner[-1][1]
    blocks = {f"block{index}": Block(*facts) for index, facts in enumerate(inner)}
    head = nn.Sequential(
        activated(convolution(leaving, wide, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(wide, CLASSES),
    )
    stem = activated(convolution(3, STEM, 3, 2))
    return channels_last(nn.Sequential(OrderedDict(stem=stem, **blocks, head=head)))


def splits() -> list[Split]:
    """From the widening to the narrowing, with a sum for the squeeze between."""
    found = []
    for index, (_, _, ratio, *_) in enumerate(inverted_bottlenecks(STEM)):
        block = f"block{index}"
        inside = [f"{block}.{part}.{i}" for part in ("expand", "spatial") for i in (0, 1)]
        if ratio > 1:
            found.append(Split(
                (f"{block}.expand", f"{block}.excite"), (*inside, f"{block}.excite"),
                (f"{block}.reduce", f"{block}.project"),
            ))
    return found
