"""What the workloads on images have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suite.contract.workloads.workload import Field, Workload, norm_shapes


class ImageClassifier(Workload):
    """Classifies square images of three channels, with batch normalisation.

    Attributes:
        image: Side of the images in pixels.
        classes: Number of classes.
    """

    image: int
    classes: int

    @property
    def features(self) -> Field:
        """Images of (height, width, 3)."""
        return Field((self.image, self.image, 3))

    @property
    def targets(self) -> Field:
        """The class of each image."""
        return Field((), "int32", self.classes)

    @property
    def batch_statistics(self) -> bool:
        """True: batch normalisation makes the samples of a forward pass depend on each other."""
        return True


@dataclass(frozen=True)
class Convolution:
    """A convolution without bias, with a square kernel, over a square image.

    Attributes:
        kernel: Side of the kernel in pixels; padding is ``kernel // 2`` on every side.
        entering: Channels of the input.
        leaving: Channels of the output.
        side: Side of the input in pixels.
        stride: Stride in pixels.
        depthwise: Whether every channel is convolved separately.
    """

    kernel: int
    entering: int
    leaving: int
    side: int
    stride: int = 1
    depthwise: bool = False

    @property
    def padding(self) -> int:
        """Pixels of padding on every side."""
        return self.kernel // 2

    @property
    def side_after(self) -> int:
        """Side of the output in pixels."""
        return shrunk(self.side, self.stride)

    @property
    def output(self) -> tuple[int, int, int]:
        """(height, width, channels) of the output."""
        return self.side_after, self.side_after, self.leaving

    def shapes(self, name: str, norm: str) -> dict[str, tuple[int, ...]]:
        """Names the parameters of the convolution and of the normalisation that follows it.

        Args:
            name: Canonical name of the convolution.
            norm: Canonical name of the normalisation.

        Returns:
            Canonical name to shape: the kernel is (height, width, in, out), or (height, width,
            channels, 1) if depthwise; scale and bias are (channels,).
        """
        size = (self.kernel, self.kernel)
        if self.depthwise:
            kernel = {f"{name}.depthwise": (*size, self.entering, 1)}
        else:
            kernel = {f"{name}.weight": (*size, self.entering, self.leaving)}
        return kernel | norm_shapes(norm, self.leaving)

    @property
    def flops(self) -> float:
        """Forward FLOPs per sample: a multiply and an add per weight and output pixel."""
        inputs = 1 if self.depthwise else self.entering
        return 2.0 * self.kernel**2 * inputs * self.leaving * self.side_after**2


def shrunk(side: int, stride: int) -> int:
    """Returns the side in pixels after an odd kernel that is padded by half its size."""
    return (side - 1) // stride + 1


def shortened(blocks: Sequence[int], wanted: int) -> tuple[int, ...]:
    """Shortens the stages of a network, the longest first, and keeps a block of each.

    Args:
        blocks: Blocks of every stage.
        wanted: Blocks that are wanted at least.

    Returns:
        Blocks of every stage; empty if that would not be fewer than there are.
    """
    for longest in range(1, max(blocks) if wanted > 0 else 0):
        kept = tuple(min(longest, count) for count in blocks)
        if sum(kept) >= wanted:
            return kept
    return ()
