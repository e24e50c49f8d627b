"""What all ways of splitting share on the tensorflow engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
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
from adapters.horovod.training.group_timeline import GroupTimeline
from adapters.tensorflow.models import forward
from adapters.tensorflow.models.branch import Apply, Tensors
from adapters.tensorflow.training.single import Clocks, Training
from adapters.tensorflow.training.stamps import size_bytes
from suite.contract.adapter import StepTrace
from suite.contract.workloads import Weights


class HorovodSession(OnMesh, Training):
    """A rank of a Horovod job; by itself it is the session of the single strategy."""

    clock: ComputeClock
    event_loops = ""

    def applied(self, variables: Tensors, features: tf.Tensor, part: int) -> Apply | None:
        """Returns how the branches in these variables are computed; None computes them whole.

        Args:
            Variables: The variables of a stage by canonical name.
            features: The features of the micro-batch.
            part: The number of the micro-batch.
        """
        return None

    def mean_loss(self, features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Returns the mean loss of this rank's samples."""
        if self.case.strategy == "single":
            return super().mean_loss(features, targets)
        apply = self.applied(self.variables, features, self.turn)
        logits = forward(self.spec, self.variables, features, apply=apply,
                         recompute=self.case.recomputes, low=self.low)
        return self.loss_function(logits, targets)

    def reduce_gradients(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Averages gradients over the replicas; without replicas it returns them as they are."""
        return gradients

    def clocked(self, run: Callable[[], None]) -> Clocks:
        """Runs a step, and meanwhile samples the compute clock and the waiting of Horovod's
        threads.
        """
        if self.case.device == "cuda":
            return super().clocked(run)
        with SampledClock(self.clock) as sampled:
            run()
        return Clocks((sampled.points,), sampled.queued)

    @cached_property
    def group_timeline(self) -> GroupTimeline:
        """Horovod's timeline of the group that this rank communicates in."""
        return GroupTimeline(hvd, self.case, self.rank, lambda: hvd.allgather_object(None))

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        """Runs a step with stamps under the profiler, with Horovod's timeline where it tells all.

        Args:
            index: The number of the global batch.
            timeline: The file to keep the profiler's timeline in, if any.
        """
        if not self.group_timeline.tells:
            return super().traced_step(index, timeline)
        if self.group_timeline.enter():
            self.run(self._stamped(index)[0], index)
        with self.group_timeline.recording():
            trace = super().traced_step(index, timeline)
        return self.group_timeline.told(trace, trace.events)

    def silent_step(self, index: int) -> None:
        """Runs a step with communication switched off, and without the timeline's thread."""
        self.group_timeline.leave()
        super().silent_step(index)

    def agree(self, ready: bool) -> bool:
        """Returns whether every rank is ready; every rank must call it."""
        return bool(hvd.allreduce(tf.constant(int(ready)), op=hvd.Min, name="agree"))

    def exchange(self, told: Any) -> list[Any]:
        """Returns what every rank tells, in the order of the ranks; every rank must call it."""
        everyone: list[Any] = hvd.allgather_object(told)
        return everyone

    def sum(self, tensor: tf.Tensor, name: str, axis: str, over: Any = None) -> tf.Tensor:
        """Sums a tensor over the ranks of an axis, and times it if the graph holds stamps.

        Args:
            Tensor: This rank's summand, of any shape.
            name: The name of the operation, equal on all ranks.
            axis: The axis of the mesh.
            over: A process set to use instead of the whole axis.

        Returns:
            The sum, of the same shape; the summand itself if communication is switched off.
        """
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
        """Returns the arrays of every rank, in the order of ranks."""
        def flat(array: np.ndarray) -> np.ndarray:
            return np.asarray(hvd.allgather(tf.constant(array), name="gather"))

        return gather_arrays(held, hvd.allgather_object, flat)

    def gradients(self) -> Weights:
        """Returns the whole gradients of the first step by canonical name."""
        return self._whole(super().gradients())

    def parameters(self) -> Weights:
        """Returns the whole parameters by canonical name."""
        return self._whole(super().parameters())

    def _whole(self, held: Weights) -> Weights:
        return whole_arrays(self.spec, self.case.axes, self.gather(held)) if self.split else held

    def describe(self) -> dict[str, str]:
        """Returns the fairness ledger, with what Horovod adds to it."""
        own = ledger(self.case, hvd, self.settings)
        return super().describe() | own | {"event_loops": self.event_loops}

    def close(self) -> None:
        """Leaves the group once every rank is ready to."""
        # A rank that shuts down earlier would break the last collective of the others.
        hvd.allgather_object(None)
        hvd.shutdown()
