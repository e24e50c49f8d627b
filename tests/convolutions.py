"""A model of every kind of layer that a branch may hold, small enough to count by hand."""

from __future__ import annotations

from dataclasses import dataclass

from suite.contract.workloads.workload import (
    Adam,
    Branch,
    Field,
    Middle,
    Workload,
    linear_shapes,
    norm_shapes,
)


@dataclass(frozen=True)
class Convolutions(Workload):
    """One inverted bottleneck between a stem and a classifier."""

    name: str = "convolutions"
    size: str = "one"
    dataset: str = "none"
    global_batch: int = 8
    optimizer: Adam = Adam()

    @property
    def features(self) -> Field:
        return Field((4, 4, 3))

    @property
    def targets(self) -> Field:
        return Field((), "int32", 5)

    @property
    def batch_statistics(self) -> bool:
        return True

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            "stem.weight": (3, 3, 3, 8),
            "block0.expand.weight": (1, 1, 8, 16),
            **norm_shapes("block0.norm", 16),
            "block0.spatial.depthwise": (3, 3, 16, 1),
            **linear_shapes("block0.reduce", 16, 2),
            **linear_shapes("block0.widen", 2, 16),
            "block0.project.weight": (1, 1, 16, 8),
            "block1.weight": (3, 3, 8, 6),
            **linear_shapes("head", 6, 5),
        }

    def ends(self) -> dict[str, tuple[str, ...]]:
        return {"stem": ("first",), "head": ("last",)}

    def unit_flops(self) -> dict[str, float]:
        return {"block0": 3.0, "block1": 2.0}

    def branches(self) -> list[Branch]:
        middle = Middle("block0.reduce", "block0.widen", 2)
        return [
            Branch(
                ("block0.expand",), "block0.project", "block0.expand", 4 * 4 * 8, 4 * 4 * 8,
                ("block0.norm", "block0.spatial"), middle=middle,
            )
        ]

    def boundary(self, unit: int) -> tuple[int, ...]:
        return (4, 4, 8)
