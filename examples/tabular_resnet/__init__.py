"""A workload outside the suite: a residual network for tables.

    cd examples
    python -m suite run --workload tabular_resnet:SIZES --size tiny
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.contract.workloads import Adam, Branch, Field, Workload
from suite.contract.workloads.workload import Arrays, linear_shapes, norm_shapes


@dataclass(frozen=True)
class TabularResNet(Workload):
    """Pre-norm residual blocks over a table's columns (Gorishniy et al. 2021, section 3.2)."""

    size: str
    columns: int
    classes: int
    width: int
    blocks: int
    global_batch: int
    name: str = "tabular-resnet"
    dataset: str = "wine"
    optimizer: Adam = Adam()
    torch_module: str = "tabular_resnet.torch_model"
    tensorflow_module: str = "tabular_resnet.tensorflow_model"

    @property
    def features(self) -> Field:
        """A row of the table."""
        return Field((self.columns,))

    @property
    def targets(self) -> Field:
        """The class of the row."""
        return Field((), "int32", self.classes)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name to shape, in forward order."""
        shapes = linear_shapes("embed", self.columns, self.width)
        for unit in (f"block{index}" for index in range(self.blocks)):
            shapes |= norm_shapes(f"{unit}.norm", self.width)
            shapes |= linear_shapes(f"{unit}.expand", self.width, 2 * self.width)
            shapes |= linear_shapes(f"{unit}.contract", 2 * self.width, self.width)
        return shapes | norm_shapes("norm", self.width) | linear_shapes(
            "head", self.width, self.classes
        )

    def ends(self) -> dict[str, tuple[str, ...]]:
        """Which end of a pipeline holds the parameters outside the blocks."""
        return {"embed": ("first",), "norm": ("last",), "head": ("last",)}

    def unit_flops(self) -> dict[str, float]:
        """Forward FLOPs per sample of each block; the ends count with their neighbours."""
        flops = {f"block{index}": 8.0 * self.width**2 for index in range(self.blocks)}
        flops["block0"] += 2.0 * self.columns * self.width
        flops[f"block{self.blocks - 1}"] += 2.0 * self.width * self.classes
        return flops

    def branches(self) -> list[Branch]:
        """What an intra-layer split shards: expand by its outputs, contract by its inputs."""
        units = [f"block{index}" for index in range(self.blocks)]
        return [
            Branch((f"{u}.expand",), f"{u}.contract", f"{u}.expand", self.width, self.width)
            for u in units
        ]

    def boundary(self, unit: int) -> tuple[int, ...]:
        """(width,), the same between all blocks."""
        return (self.width,)

    def real_data(self, generator: np.random.Generator) -> Arrays:
        """scikit-learn's wines: standardised features (178, 13) and classes (178,)."""
        from sklearn.datasets import load_wine

        features, targets = load_wine(return_X_y=True)
        return (features - features.mean(0)) / features.std(0), targets


SIZES = [TabularResNet("tiny", 13, 3, 32, 4, 64), TabularResNet("wide", 13, 3, 768, 6, 128)]
