"""Dense classifier."""

from __future__ import annotations

from dataclasses import dataclass

from suite.contract.workloads.workload import Adam, Branch, Field, Workload, linear_shapes


@dataclass(frozen=True)
class MlpSpec(Workload):
    """One output means binary cross-entropy.

    ``activation`` between the layers is ``relu``, or ``gelu`` (tanh form). Of millions of relu
    units rounding flips one at its kink now and then, and a gradient jumps by 1e-3 of its largest
    entry; a smooth activation keeps the proof strict.
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
        return len(self.widths) - 1

    @property
    def binary(self) -> bool:
        return self.widths[-1] == 1

    @property
    def features(self) -> Field:
        return Field((self.widths[0],))

    @property
    def targets(self) -> Field:
        return Field((), "float32", 2) if self.binary else Field((), "int32", self.widths[-1])

    def shapes(self) -> dict[str, tuple[int, ...]]:
        result: dict[str, tuple[int, ...]] = {}
        for index, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            result |= linear_shapes(f"layer{index}", fan_in, fan_out)
        return result

    def unit_flops(self) -> dict[str, float]:
        """2·in·out a layer."""
        pairs = zip(self.widths, self.widths[1:], strict=False)
        return {f"layer{index}": 2.0 * a * b for index, (a, b) in enumerate(pairs)}

    def branches(self) -> list[Branch]:
        return [
            Branch(
                (f"layer{i}",), f"layer{i + 1}", f"layer{i}", self.widths[i], self.widths[i + 2],
                input_has_gradient=i > 0,
            )
            for i in range(0, self.layers - 1, 2)
        ]

    def boundary(self, unit: int) -> tuple[int, ...]:
        return (self.widths[unit],)


SIZES = (
    MlpSpec("tiny", widths=(30, 10, 1), dataset="breast-cancer", global_batch=64),
    MlpSpec("wide", widths=(64, 1024, 1024, 1024, 1024, 10), dataset="digits", global_batch=128,
            activation="gelu"),
)
# What two CPU cores train in a fraction of a second a step.
DEFAULT_SIZE = "wide"
