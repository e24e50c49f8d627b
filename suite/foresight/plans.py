"""Ways to train: arrays with one entry for each configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from suite.foresight.units import Array

NO_RECOMPUTE, SELECTIVE, FULL = 0.0, 1.0, 2.0
WORDS = ("schedule", "cut")


@dataclass(frozen=True)
class Plan:
    """One way to split and schedule training.

    Attributes:
        shards: Devices that share every layer (tensor or intra-layer parallel).
        stages: Devices along the pipeline.
        replicas: Data-parallel copies of the model.
        context: Devices that share the tokens of a sample (context parallel).
        micro_batch: Samples of one pass of one replica.
        micro_batches: Passes a step of one replica.
        schedule: ``gpipe``, ``1f1b``, ``interleaved`` or ``naive``; irrelevant for one stage.
        chunks: Model parts that each device of an interleaved pipeline holds.
        recompute: 0 keeps activations, 1 recomputes attention scores, 2 whole blocks.
        sharding: 0 nothing; 1 optimiser states are sharded over the replicas, 2 gradients too, 3
            parameters too (ZeRO's stages, Rajbhandari et al. 2020).
        sequence_parallel: 1 where norms and dropout are split over the shards too.
        cut: Units of each stage, such as ``3,1``; empty where FLOPs are balanced.
    """

    shards: float = 1
    stages: float = 1
    replicas: float = 1
    context: float = 1
    micro_batch: float = 1
    micro_batches: float = 1
    schedule: str = "1f1b"
    chunks: float = 1
    recompute: float = NO_RECOMPUTE
    sharding: float = 0
    sequence_parallel: float = 0
    cut: str = ""

    @property
    def devices(self) -> float:
        """Devices that the plan uses."""
        return self.shards * self.stages * self.replicas * self.context


@dataclass(frozen=True)
class Plans:
    """The same fields as ``Plan``, as float64 arrays (configurations,); words as text."""

    shards: Array
    stages: Array
    replicas: Array
    context: Array
    micro_batch: Array
    micro_batches: Array
    schedule: np.ndarray[Any, Any]
    chunks: Array
    recompute: Array
    sharding: Array
    sequence_parallel: Array
    cut: np.ndarray[Any, Any]

    @property
    def devices(self) -> Array:
        """Devices of each configuration."""
        return self.shards * self.stages * self.replicas * self.context

    @property
    def global_batch(self) -> Array:
        """Samples a step over all devices."""
        return self.replicas * self.micro_batch * self.micro_batches

    def __len__(self) -> int:
        return len(self.shards)


def plans_of(plans: Iterable[Plan]) -> Plans:
    """Makes arrays of single plans."""
    rows = list(plans)
    columns = {}
    for one in fields(Plan):
        values = [getattr(row, one.name) for row in rows]
        columns[one.name] = np.array(values, dtype=str if one.name in WORDS else float)
    return Plans(**columns)
