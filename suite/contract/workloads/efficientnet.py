"""EfficientNet: inverted bottlenecks, scaled in width, depth and resolution together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, prod

from suite.contract.workloads.images import Convolution, ImageClassifier, shortened
from suite.contract.workloads.workload import Adam, Branch, Middle, linear_shapes

BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class Stage:
    """A run of equal blocks.

    Attributes:
        ratio: By how much a block widens its channels inside.
        kernel: Side of the depthwise kernel in pixels.
        stride: Stride of the first block; all other blocks have stride 1.
        width: Channels that leave the blocks, before the width multiplier.
        blocks: Number of blocks, before the depth multiplier.
    """

    ratio: int
    kernel: int
    stride: int
    width: int
    blocks: int


# EfficientNet-B0: Tan & Le 2019, table 1.
BASELINE = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)


@dataclass(frozen=True)
class InvertedBottleneck:
    """An inverted bottleneck block with squeeze-and-excitation.

    In order: expand, norm1, silu; spatial (depthwise), norm2, silu; every channel scaled by a
    sigmoid gate computed from the channels' means over the image; project, norm3. The input is
    added to the result if both have the same shape.

    Attributes:
        expand: The 1x1 convolution that widens; None if the block does not widen.
        spatial: The depthwise convolution.
        project: The 1x1 convolution that narrows.
        squeezed: Channels between the two matrices of the gate.
    """

    expand: Convolution | None
    spatial: Convolution
    project: Convolution
    squeezed: int

    @property
    def first(self) -> Convolution:
        """The convolution that the input of the block enters."""
        return self.expand or self.spatial

    @property
    def residual(self) -> bool:
        """Whether the input is added to the result: both have the same shape."""
        return self.spatial.stride == 1 and self.first.entering == self.project.leaving

    def convolutions(self) -> dict[str, tuple[str, Convolution]]:
        """Returns each convolution by name, with the name of the normalisation that follows it."""
        inside = {"spatial": ("norm2", self.spatial), "project": ("norm3", self.project)}
        return {"expand": ("norm1", self.expand), **inside} if self.expand else inside

    def shapes(self, block: str) -> dict[str, tuple[int, ...]]:
        """Returns canonical name to shape of the parameters of the block called ``block``."""
        result: dict[str, tuple[int, ...]] = {}
        inside, squeeze = self.spatial.leaving, f"{block}.squeeze"
        for name, (norm, layer) in self.convolutions().items():
            if name == "project":
                result |= linear_shapes(f"{squeeze}.reduce", inside, self.squeezed)
                result |= linear_shapes(f"{squeeze}.expand", self.squeezed, inside)
            result |= layer.shapes(f"{block}.{name}", f"{block}.{norm}")
        return result

    @property
    def flops(self) -> float:
        """Forward FLOPs per sample of the convolutions and of the gate's two matrices."""
        layers = sum(layer.flops for _, layer in self.convolutions().values())
        return layers + 4.0 * self.spatial.leaving * self.squeezed


@dataclass(frozen=True)
class EfficientNetSpec(ImageClassifier):
    """EfficientNet (Tan & Le 2019): B0, and the networks that scale its widths and depths.

    Padding is the same on all sides of an image.

    Attributes:
        image: Side of the square images in pixels.
        width_multiplier: Factor on every number of channels (the paper's w).
        depth_multiplier: Factor on the number of blocks in every stage (the paper's d).
        stem_width: Channels after the first convolution, before the width multiplier.
        stages: The runs of blocks.
    """

    size: str
    image: int = 224
    classes: int = 1000
    global_batch: int = 32
    width_multiplier: float = 1.0
    depth_multiplier: float = 1.0
    stem_width: int = 32
    stages: tuple[Stage, ...] = BASELINE
    name: str = "efficientnet"
    dataset: str = "photographs"
    optimizer: Adam = Adam()

    def _channels(self, width: int) -> int:
        """Scales a number of channels to the nearest multiple of 8, at most a tenth below it."""
        wanted = width * self.width_multiplier
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded

    def stem(self) -> Convolution:
        """The first convolution; a normalisation and silu follow it."""
        return Convolution(3, 3, self._channels(self.stem_width), self.image, 2)

    def blocks(self) -> list[InvertedBottleneck]:
        """Returns the blocks in forward order."""
        blocks = []
        side, _, entering = self.stem().output
        for stage in self.stages:
            for index in range(ceil(stage.blocks * self.depth_multiplier)):
                stride = 1 if index else stage.stride
                block = self._block(stage, entering, side, stride)
                blocks.append(block)
                side, _, entering = block.project.output
        return blocks

    def _block(self, stage: Stage, entering: int, side: int, stride: int) -> InvertedBottleneck:
        """Builds a block for ``entering`` channels of ``side`` pixels."""
        inside = entering * stage.ratio
        expand = Convolution(1, entering, inside, side) if stage.ratio > 1 else None
        spatial = Convolution(stage.kernel, inside, inside, side, stride, depthwise=True)
        project = Convolution(1, inside, self._channels(stage.width), spatial.side_after)
        return InvertedBottleneck(expand, spatial, project, max(1, entering // 4))

    def head(self) -> Convolution:
        """The last convolution; normalisation, silu, pixel means and the classifier follow it."""
        side, _, entering = self.blocks()[-1].project.output
        return Convolution(1, entering, 4 * entering, side)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name to shape, in forward order."""
        result = self.stem().shapes("stem.conv", "stem.norm")
        for index, block in enumerate(self.blocks()):
            result |= block.shapes(f"block{index}")
        result |= self.head().shapes("head.conv", "head.norm")
        return result | linear_shapes("classifier", self.head().leaving, self.classes)

    def ends(self) -> dict[str, tuple[str, ...]]:
        """The stem belongs to the first stage, the last convolution and classifier to the last."""
        return {"stem": ("first",), "head": ("last",), "classifier": ("last",)}

    def unit_flops(self) -> dict[str, float]:
        """Forward FLOPs per sample of convolutions and matrices.

        They are twice the multiply-adds of Tan & Le 2019, table 2.
        """
        blocks = self.blocks()
        flops = {f"block{index}": block.flops for index, block in enumerate(blocks)}
        flops["block0"] += self.stem().flops
        head = self.head()
        flops[f"block{len(blocks) - 1}"] += head.flops + 2.0 * head.leaving * self.classes
        return flops

    def branches(self) -> list[Branch]:
        """A branch per block that widens, from its expand to its project convolution.

        Blocks that do not widen are not split: every device computes them whole.
        """
        return [
            self._branch(f"block{index}", block.expand, block)
            for index, block in enumerate(self.blocks()) if block.expand
        ]

    def _branch(self, name: str, expand: Convolution, block: InvertedBottleneck) -> Branch:
        """Describes the branch of the block called ``name``, whose gate is a sum in between."""
        squeeze = Middle(f"{name}.squeeze.reduce", f"{name}.squeeze.expand", block.squeezed)
        return Branch(
            (f"{name}.expand",), f"{name}.project", f"{name}.expand",
            expand.side**2 * expand.entering, prod(block.project.output),
            (f"{name}.norm1", f"{name}.spatial", f"{name}.norm2"), middle=squeeze,
        )

    def shallower(self, units: int) -> EfficientNetSpec | None:
        """Keeps the first blocks of every stage, so many that at least ``units`` are left."""
        depths = [ceil(stage.blocks * self.depth_multiplier) for stage in self.stages]
        kept = shortened(depths, units)
        stages = tuple(replace(stage, blocks=count)
                       for stage, count in zip(self.stages, kept, strict=False))
        return replace(self, stages=stages, depth_multiplier=1.0) if kept else None

    def boundary(self, unit: int) -> tuple[int, ...]:
        """Returns (height, width, channels) of what the block before ``unit`` puts out."""
        return self.blocks()[unit - 1].project.output


SIZES = (
    EfficientNetSpec(
        "tiny", image=32, classes=10, global_batch=16, stem_width=16,
        stages=(Stage(1, 3, 1, 16, 1), Stage(4, 5, 2, 24, 2), Stage(4, 3, 2, 40, 1)),
    ),
    EfficientNetSpec("small", image=64, classes=10, global_batch=16),
    EfficientNetSpec("b0"),
    EfficientNetSpec("b4", image=380, width_multiplier=1.4, depth_multiplier=1.8),
)
# The size of which two CPU cores train a step in a fraction of a second.
DEFAULT_SIZE = "small"
