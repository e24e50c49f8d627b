"""Networks of inverted bottlenecks, scaled in width, depth and resolution together."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from suite.contract.workloads.images import Convolution, ImageClassifier
from suite.contract.workloads.workload import Adam, Branch, Middle, linear_shapes

BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class Stage:
    """Blocks alike, widened by ``ratio`` inside; the first has the stride."""

    ratio: int
    kernel: int
    stride: int
    width: int
    blocks: int


# Tan & Le 2019, table 1.
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
    """``expand`` is None where nothing is widened; ``squeezed`` channels between two matrices.

    Expand, norm1, silu; spatial, norm2, silu; scaled by a sigmoid of its own means over the image;
    project, norm3; plus what entered where that has the shape.
    """

    expand: Convolution | None
    spatial: Convolution
    project: Convolution
    squeezed: int

    @property
    def first(self) -> Convolution:
        return self.expand or self.spatial

    @property
    def residual(self) -> bool:
        return self.spatial.stride == 1 and self.first.entering == self.project.leaving

    def convolutions(self) -> dict[str, tuple[str, Convolution]]:
        """Name -> the normalisation behind it, and the convolution."""
        inside = {"spatial": ("norm2", self.spatial), "project": ("norm3", self.project)}
        return {"expand": ("norm1", self.expand), **inside} if self.expand else inside

    def shapes(self, block: str) -> dict[str, tuple[int, ...]]:
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
        layers = sum(layer.flops for _, layer in self.convolutions().values())
        return layers + 4.0 * self.spatial.leaving * self.squeezed


@dataclass(frozen=True)
class EfficientNetSpec(ImageClassifier):
    """Tan & Le 2019: B0 and what its widths and depths multiplied give; padding is symmetric."""

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
        """The nearest multiple of 8, never more than a tenth below."""
        wanted = width * self.width_multiplier
        found = max(8, int(wanted + 4) // 8 * 8)
        return found + 8 if found < 0.9 * wanted else found

    def stem(self) -> Convolution:
        """Behind it: normalisation, silu."""
        return Convolution(3, 3, self._channels(self.stem_width), self.image, 2)

    def blocks(self) -> list[InvertedBottleneck]:
        """In forward order."""
        found = []
        side, _, entering = self.stem().output
        for stage in self.stages:
            for index in range(ceil(stage.blocks * self.depth_multiplier)):
                stride = 1 if index else stage.stride
                block = self._block(stage, entering, side, stride)
                found.append(block)
                side, _, entering = block.project.output
        return found

    def _block(self, stage: Stage, entering: int, side: int, stride: int) -> InvertedBottleneck:
        inside = entering * stage.ratio
        expand = Convolution(1, entering, inside, side) if stage.ratio > 1 else None
        spatial = Convolution(stage.kernel, inside, inside, side, stride, depthwise=True)
        project = Convolution(1, inside, self._channels(stage.width), spatial.side_after)
        return InvertedBottleneck(expand, spatial, project, max(1, entering // 4))

    def head(self) -> Convolution:
        """Behind it: normalisation, silu, means over the image, the classifier."""
        side, _, entering = self.blocks()[-1].project.output
        return Convolution(1, entering, 4 * entering, side)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        result = self.stem().shapes("stem.conv", "stem.norm")
        for index, block in enumerate(self.blocks()):
            result |= block.shapes(f"block{index}")
        result |= self.head().shapes("head.conv", "head.norm")
        return result | linear_shapes("classifier", self.head().leaving, self.classes)

    def ends(self) -> dict[str, tuple[str, ...]]:
        return {"stem": ("first",), "head": ("last",), "classifier": ("last",)}

    def unit_flops(self) -> dict[str, float]:
        """Convolutions and matrices: twice the multiply-adds of Tan & Le 2019, table 2."""
        blocks = self.blocks()
        flops = {f"block{index}": block.flops for index, block in enumerate(blocks)}
        flops["block0"] += self.stem().flops
        head = self.head()
        flops[f"block{len(blocks) - 1}"] += head.flops + 2.0 * head.leaving * self.classes
        return flops

    def branches(self) -> list[Branch]:
        """From the widening to the narrowing; blocks that do not widen every device computes."""
        return [
            self._branch(f"block{index}", block.expand, block)
            for index, block in enumerate(self.blocks()) if block.expand
        ]

    def _branch(self, name: str, expand: Convolution, block: InvertedBottleneck) -> Branch:
        squeeze = Middle(f"{name}.squeeze.reduce", f"{name}.squeeze.expand", block.squeezed)
        return Branch(
            (f"{name}.expand",), f"{name}.project", f"{name}.expand",
            expand.side**2 * expand.entering, prod(block.project.output),
            (f"{name}.norm1", f"{name}.spatial", f"{name}.norm2"), middle=squeeze,
        )

    def boundary(self, unit: int) -> tuple[int, ...]:
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
# What two CPU cores train in a fraction of a second a step.
DEFAULT_SIZE = "small"
