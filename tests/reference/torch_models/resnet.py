"""ResNet as torchvision writes it (v1.5), with one bottleneck a stage."""

from collections import OrderedDict

import torch
from torch import nn

from tests.reference.common import BLOCKS, CLASSES
from tests.reference.torch_models import Split
from tests.reference.torch_models.images import channels_last, convolution, norm

WIDTH, EPSILON = 64, 1e-5


class Bottleneck(nn.Module):
    def __init__(self, entering: int, width: int, stride: int) -> None:
        super().__init__()
        leaving = 4 * width
        self.conv1, self.norm1 = convolution(entering, width, 1), norm(width, EPSILON)
        self.conv2, self.norm2 = convolution(width, width, 3, stride), norm(width, EPSILON)
        self.conv3, self.norm3 = convolution(width, leaving, 1), norm(leaving, EPSILON)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(
            convolution(entering, leaving, 1, stride), norm(leaving, EPSILON)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.relu(self.norm2(self.conv2(out)))
        out = self.norm3(self.conv3(out))
        out += self.downsample(x)
        return self.relu(out)


def make() -> nn.Sequential:
    stem = nn.Sequential(
        convolution(3, WIDTH, 7, 2), norm(WIDTH, EPSILON), nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    )
    blocks, entering = {}, WIDTH
    for index in range(BLOCKS["resnet"]):
        width = WIDTH * 2**index
        blocks[f"block{index}"] = Bottleneck(entering, width, 2 if index else 1)
        entering = 4 * width
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(entering, CLASSES))
    return channels_last(nn.Sequential(OrderedDict(stem=stem, **blocks, head=head)))


def splits() -> list[Split]:
    """The last two convolutions of each block."""
    return [
        Split((f"{block}.conv2",), (f"{block}.conv2", f"{block}.norm2"), (f"{block}.conv3",))
        for block in (f"block{index}" for index in range(BLOCKS["resnet"]))
    ]
