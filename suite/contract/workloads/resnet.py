"""ResNet: residual networks of convolutions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from suite.contract.workloads.images import Convolution, ImageClassifier, shortened, shrunk
from suite.contract.workloads.workload import Adam, Branch, linear_shapes

BATCH_NORM_EPSILON = 1e-5
POOL_KERNEL, POOL_STRIDE = 3, 2


@dataclass(frozen=True)
class ResNetSpec(ImageClassifier):
    """ResNet (He et al. 2016) with the stride on the 3x3 convolution, as torchvision has it (v1.5).

    The width doubles and the image halves from stage to stage. The learning rate is small because
    rounding can put a relu on the other side of its kink, and Adam turns even such a tiny change of
    a gradient into a whole step.

    Attributes:
        blocks: Number of residual blocks in each stage.
        bottleneck: Whether a block is 1x1, 3x3, 1x1 to four times the width; otherwise it is two
            3x3 convolutions.
        image: Side of the square images in pixels.
        width: Channels inside the blocks of the first stage.
    """

    size: str
    blocks: tuple[int, ...]
    bottleneck: bool
    image: int = 224
    classes: int = 1000
    global_batch: int = 32
    width: int = 64
    name: str = "resnet"
    dataset: str = "photographs"
    optimizer: Adam = Adam(learning_rate=3e-5)

    def stem(self) -> Convolution:
        """The first convolution; normalisation, relu and a 3x3 max-pool (stride 2) follow it."""
        return Convolution(7, 3, self.width, self.image, 2)

    def convolutions(self) -> list[dict[str, Convolution]]:
        """Returns the convolutions of each block by name, in forward order.

        ``downsample.conv`` is on the shortcut of a block that changes the shape.
        """
        blocks = []
        side = shrunk(self.stem().side_after, POOL_STRIDE)
        entering = self.width
        for stage, count in enumerate(self.blocks):
            for index in range(count):
                stride = 2 if stage and not index else 1
                block = self._block(entering, self.width * 2**stage, side, stride)
                blocks.append(block)
                side, _, entering = self._last(block).output
        return blocks

    def _block(self, entering: int, width: int, side: int, stride: int) -> dict[str, Convolution]:
        """Builds a block for ``entering`` channels of ``side`` pixels."""
        after = shrunk(side, stride)
        if self.bottleneck:
            leaving = 4 * width
            block = {
                "conv1": Convolution(1, entering, width, side),
                "conv2": Convolution(3, width, width, side, stride),
                "conv3": Convolution(1, width, leaving, after),
            }
        else:
            leaving = width
            block = {
                "conv1": Convolution(3, entering, width, side, stride),
                "conv2": Convolution(3, width, width, after),
            }
        if stride > 1 or entering != leaving:
            block["downsample.conv"] = Convolution(1, entering, leaving, side, stride)
        return block

    def _last(self, block: dict[str, Convolution]) -> Convolution:
        """Returns the last convolution of a block's main path."""
        return block["conv3" if self.bottleneck else "conv2"]

    @property
    def leaving(self) -> int:
        """Number of channels that the classifier reads, each a mean over the image."""
        return int(self.width * 2 ** (len(self.blocks) - 1) * (4 if self.bottleneck else 1))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name to shape; ``norm1`` follows ``conv1``, convolutions have no bias."""
        result = self.stem().shapes("stem.conv", "stem.norm")
        for index, block in enumerate(self.convolutions()):
            for name, layer in block.items():
                full = f"block{index}.{name}"
                result |= layer.shapes(full, full.replace("conv", "norm"))
        return result | linear_shapes("classifier", self.leaving, self.classes)

    def ends(self) -> dict[str, tuple[str, ...]]:
        """The stem belongs to the first stage, the classifier to the last."""
        return {"stem": ("first",), "classifier": ("last",)}

    def unit_flops(self) -> dict[str, float]:
        """Forward FLOPs per sample of the convolutions and the classifier.

        They are twice the multiply-adds of He et al. 2016, table 1.
        """
        flops = {
            f"block{index}": sum(layer.flops for layer in block.values())
            for index, block in enumerate(self.convolutions())
        }
        flops["block0"] += self.stem().flops
        flops[f"block{sum(self.blocks) - 1}"] += 2.0 * self.leaving * self.classes
        return flops

    def branches(self) -> list[Branch]:
        """The last two convolutions of each block; every device computes the others whole."""
        first = 2 if self.bottleneck else 1
        return [
            Branch(
                (f"block{index}.conv{first}",), f"block{index}.conv{first + 1}",
                f"block{index}.conv{first}",
                block[f"conv{first}"].side ** 2 * block[f"conv{first}"].entering,
                prod(self._last(block).output), (f"block{index}.norm{first}",),
            )
            for index, block in enumerate(self.convolutions())
        ]

    def shallower(self, units: int) -> ResNetSpec | None:
        """Keeps the first blocks of every stage, so many that at least ``units`` are left."""
        blocks = shortened(self.blocks, units)
        return replace(self, blocks=blocks) if blocks else None

    def boundary(self, unit: int) -> tuple[int, ...]:
        """Returns (height, width, channels) of what the block before ``unit`` puts out."""
        return self._last(self.convolutions()[unit - 1]).output


SIZES = (
    ResNetSpec("tiny", (2, 2), bottleneck=False, image=32, classes=10, global_batch=16, width=16),
    ResNetSpec("small", (1, 1, 1, 1), bottleneck=True, image=64, classes=10, global_batch=16),
    ResNetSpec("18", (2, 2, 2, 2), bottleneck=False),
    ResNetSpec("50", (3, 4, 6, 3), bottleneck=True),
    ResNetSpec("101", (3, 4, 23, 3), bottleneck=True),
)
# The size of which two CPU cores train a step in a fraction of a second.
DEFAULT_SIZE = "small"
