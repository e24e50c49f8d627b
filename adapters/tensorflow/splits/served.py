"""A rank whose device rank 0 drives: a ``tf.distribute.Server``, and what is known of its process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled

from adapters.tensorflow.training import found, xplane
from adapters.tensorflow.training.joining import serve
from adapters.tensorflow.training.matmul_rate import matmul_flops_s
from suite.contract.adapter import StepTrace, switch
from suite.contract.case import Case, Rank
from suite.contract.records import CommEvent
from suite.contract.resident_memory import peak_resident_bytes, reset_peak_resident


class ServedSession:
    """Serves its device until rank 0 has finished: implements ``suite.contract.driven.Driven``.

    Args:
        case: What is trained, and how.
        rank: Which of the case's processes this is.
    """

    def __init__(self, case: Case, rank: Rank) -> None:
        self.case, self.rank = case, rank
        self.serving = serve(case, rank)
        self.orders = self.serving.orders
        self.traces: list[StepTrace] = []
        self.profiles: list[StepTrace] = []
        self.told: Mapping[str, Any] = {}

    def moments(self) -> Iterator[str]:
        """Yields each moment that rank 0 tells of; probes and profiles are taken in between."""
        while (order := self.orders.next())["order"] != "over":
            if order["order"] == "moment":
                self.told = order["told"] or self.told
                yield order["name"]
                self.orders.done()
            elif order["order"] == "timed":
                self.traces.append(_trace(order))
            elif order["order"] == "profile":
                self.profiles.append(self._profiled())
        self.told = order["told"]

    def _profiled(self) -> StepTrace:
        """Profiles what this process runs of a step, from rank 0's word to its word."""
        times: list[float] = []

        def serve() -> None:
            self.orders.done()  # every profiler runs before the step begins
            for order in ("begin", "end"):
                self.orders.next(order)
                times.append(time.time())
                self.orders.done()

        space = xplane.record(serve)
        order = self.orders.next("traced")
        executed = xplane.operations(space, None)
        trace = _trace(order)
        if order["timeline"]:
            path = self.rank.folder / f"timeline-{self.rank.index}.json"
            xplane.write_timeline(path, executed, trace.events)
        began, ended = times
        return replace(trace, busy=[xplane.compute_clock(executed, 0, began, ended, at_once=1)])

    def reset_peak_memory(self) -> None:
        """Starts the peak of memory anew."""
        reset_peak_resident()

    def peak_memory_bytes(self) -> int:
        """Returns the peak of this process's resident set."""
        return peak_resident_bytes()

    def device_memory_bytes(self) -> int:
        """Returns 0: the device is a CPU."""
        return 0

    def matmul_flops_s(self) -> float:
        """Returns the matrix-product rate of this rank's device in FLOP/s."""
        kind = tf.bfloat16 if self.case.dtype == "bf16" else tf.float32
        return matmul_flops_s(self.serving.device, lambda: None, kind)

    def describe(self) -> dict[str, str]:
        """Returns what this process finds; what is trained, rank 0 knows."""
        return {
            "tensorflow": tf.__version__,
            "backend": "gRPC",
            "threads_per_device": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads()),
            "onednn": switch(found.onednn_is_on()),
            "determinism": switch(is_op_determinism_enabled()),
        }

    def close(self) -> None:
        """Leaves rank 0; the server ends with the process."""
        self.orders.close()


def _trace(order: Mapping[str, Any]) -> StepTrace:
    """Makes a trace of what rank 0 read from this device's stamps."""
    events = [CommEvent(**event) for event in order["events"]]
    return StepTrace(events, missing=order["missing"], seconds=order["seconds"])
