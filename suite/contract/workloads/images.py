"""Facts that models of images share."""

from __future__ import annotations

from dataclasses import dataclass

from suite.contract.workloads.workload import Field, Workload, norm_shapes


class ImageClassifier(Workload):
    """Square images of three channels into ``classes``, with batch normalisation."""

    image: int
    classes: int

    @property
    def features(self) -> Field:
        return Field((self.image, self.image, 3))

    @property
    def targets(self) -> Field:
        return Field((), "int32", self.classes)

    @property
    def batch_statistics(self) -> bool:
        return True


@dataclass(frozen=True)
class Convolution:
    """A square kernel without bias over a square image of ``side`` pixels, ``entering`` channels.

    Padding is ``kernel // 2`` on every side. ``depthwise`` acts on each channel alone.
    """

    kernel: int
    entering: int
    leaving: int
    side: int
    stride: int = 1
    depthwise: bool = False

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def side_after(self) -> int:
        return shrunk(self.side, self.stride)

    @property
    def output(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.side_after, self.side_after, self.leaving

    def shapes(self, name: str, norm: str) -> dict[str, tuple[int, ...]]:
        """The kernel, and the normalisation behind it."""
        size = (self.kernel, self.kernel)
        if self.depthwise:
            kernel = {f"{name}.depthwise": (*size, self.entering, 1)}
        else:
            kernel = {f"{name}.weight": (*size, self.entering, self.leaving)}
        return kernel | norm_shapes(norm, self.leaving)

    @property
    def flops(self) -> float:
        """Forward, a sample: a multiplication and an addition a weight and pixel of the output."""
        inputs = 1 if self.depthwise else self.entering
        return 2.0 * self.kernel**2 * inputs * self.leaving * self.side_after**2


def shrunk(side: int, stride: int) -> int:
    """Pixels after an odd kernel with half of it as padding."""
    return (side - 1) // stride + 1
