"""MLP: a classifier of dense layers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from suite.contract.workloads.workload import Adam, Branch, Field, Workload, linear_shapes


@dataclass(frozen=True)
class MlpSpec(Workload):
    """Dense layers with an activation between them; a single output means binary cross-entropy.

    Among millions of relu units, rounding now and then puts a unit on the other side of its kink,
    and a gradient then jumps by 1e-3 of its largest entry. A wide network therefore takes gelu,
    which is smooth, so that parity can be proven within strict bounds.

    Attributes:
        widths: Width of the input, of every hidden layer and of the output.
        activation: ``relu``, or ``gelu`` in its tanh form.
    """

    size: str
    widths: tuple[int, ...]
    dataset: str
    global_batch: int
    activation: str = "relu"
    name: str = "mlp"
    optimizer: Adam = Adam()

    @property
    def layers(self) -> int:
        """Number of dense layers."""
        return len(self.widths) - 1

    @property
    def binary(self) -> bool:
        """Whether the network has a single output, for two classes."""
        return self.widths[-1] == 1

    @property
    def features(self) -> Field:
        """A row of numbers."""
        return Field((self.widths[0],))

    @property
    def targets(self) -> Field:
        """The class: 0.0 or 1.0 if binary, otherwise its number."""
        return Field((), "float32", 2) if self.binary else Field((), "int32", self.widths[-1])

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name to shape, layer by layer."""
        result: dict[str, tuple[int, ...]] = {}
        for index, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            result |= linear_shapes(f"layer{index}", fan_in, fan_out)
        return result

    def unit_flops(self) -> dict[str, float]:
        """Forward FLOPs per sample of each layer: 2 · in · out."""
        pairs = zip(self.widths, self.widths[1:], strict=False)
        return {f"layer{index}": 2.0 * a * b for index, (a, b) in enumerate(pairs)}

    def branches(self) -> list[Branch]:
        """Pairs of layers: the first is split by its outputs, the second by its inputs."""
        return [
            Branch(
                (f"layer{i}",), f"layer{i + 1}", f"layer{i}", self.widths[i], self.widths[i + 2],
                input_has_gradient=i > 0,
            )
            for i in range(0, self.layers - 1, 2)
        ]

    def shallower(self, units: int) -> MlpSpec | None:
        """Keeps the first layers; the last of them gets the model's output."""
        if not 0 < units < self.layers:
            return None
        return replace(self, widths=(*self.widths[:units], self.widths[-1]))

    def boundary(self, unit: int) -> tuple[int, ...]:
        """Returns (width,) of the tensor that enters layer ``unit``."""
        return (self.widths[unit],)


SIZES = (
    MlpSpec("tiny", widths=(30, 10, 1), dataset="breast-cancer", global_batch=64),
    MlpSpec("wide", widths=(64, 1024, 1024, 1024, 1024, 10), dataset="digits", global_batch=128,
            activation="gelu"),
)
# The size of which two CPU cores train a step in a fraction of a second.
DEFAULT_SIZE = "wide"
