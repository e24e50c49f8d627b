"""What every way of splitting shares on the tensorflow engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf

from adapters.horovod.splits.tensorflow_engine.sampling import SampledClock
from adapters.horovod.training.common import (
    ComputeClock,
    OnMesh,
    gather_arrays,
    ledger,
    whole_arrays,
)
from adapters.tensorflow.models import forward
from adapters.tensorflow.models.branch import Apply, Tensors
from adapters.tensorflow.training.single import Clocks, Training
from adapters.tensorflow.training.stamps import size_bytes
from suite.contract.workloads import Weights


class HorovodSession(OnMesh, Training):
    """A rank of a Horovod job; by itself the single strategy."""

    clock: ComputeClock
    event_loops = ""

    def applied(self, variables: Tensors, features: tf.Tensor, part: int) -> Apply | None:
        """How the branches of a stage's variables are computed on a micro-batch; None is whole."""
        return None

    def mean_loss(self, features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Mean loss of this rank's samples."""
        if self.case.strategy == "single":
            return super().mean_loss(features, targets)
        apply = self.applied(self.variables, features, self.turn)
        logits = forward(self.spec, self.variables, features, apply=apply,
                         recompute=self.case.recomputes)
        return self.loss_function(logits, targets)

    def reduce_gradients(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Mean over the replicas, where there are any."""
        return gradients

    def clocked(self, run: Callable[[], None]) -> Clocks:
        """Runs a step and samples the compute clock and Horovod's threads meanwhile."""
        if self.case.device == "cuda":
            return super().clocked(run)
        with SampledClock(self.clock) as sampled:
            run()
        return Clocks((sampled.points,), sampled.queued)

    def agree(self, ready: bool) -> bool:
        """Whether every rank says so; a collective call."""
        return bool(hvd.allreduce(tf.constant(int(ready)), op=hvd.Min, name="agree"))

    def sum(self, tensor: tf.Tensor, name: str, axis: str, over: Any = None) -> tf.Tensor:
        """All-reduce over an axis, or a part of it; stamped where the graph holds stamps."""
        if self.silent:
            return tensor
        start = self.stamps.mark(0, [tensor]) if self.stamps.on else None
        total = hvd.allreduce(
            tensor, op=hvd.Sum, name=name, ignore_name_scope=True,
            process_set=over or self.process_set(axis),
        )
        if start is not None:
            end = self.stamps.mark(0, [total])
            key = self.key(axis, name)
            self.stamps.member("all_reduce", key, 0, size_bytes(tensor), start, end)
        return total

    def gather(self, held: Weights) -> list[Weights]:
        """Every rank's arrays."""
        def flat(array: np.ndarray) -> np.ndarray:
            return np.asarray(hvd.allgather(tf.constant(array), name="gather"))

        return gather_arrays(held, hvd.allgather_object, flat)

    def gradients(self) -> Weights:
        """Whole gradients of the first step under canonical names."""
        return self._whole(super().gradients())

    def parameters(self) -> Weights:
        """Whole parameters under canonical names."""
        return self._whole(super().parameters())

    def _whole(self, held: Weights) -> Weights:
        return whole_arrays(self.spec, self.case.axes, self.gather(held)) if self.split else held

    def describe(self) -> dict[str, str]:
        """The ledger of the session, with what this strategy adds to it."""
        return super().describe() | ledger(self.case, hvd) | {"event_loops": self.event_loops}

    def close(self) -> None:
        """Leaves the process group, once every rank is ready to."""
        # A rank that shuts down takes the others' last collective with it.
        hvd.allgather_object(None)
        hvd.shutdown()
