"""The session that trains a workload in a single process.

Every other strategy derives from it and overrides what it does differently.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled

from adapters.tensorflow.training import found, xplane
from adapters.tensorflow.training.graph import Graph, StepGraph
from adapters.tensorflow.training.kernels import gpu_communications
from adapters.tensorflow.training.matmul_rate import matmul_flops_s
from suite.contract.adapter import Busy, Inputs, StepTrace, switch
from suite.contract.case import Case
from suite.contract.resident_memory import peak_resident_bytes, reset_peak_resident
from suite.contract.splits.volumes import logical_communications
from suite.contract.workloads import Weights

# What users set for XLA; a run passes them on only by name (SUITE_PASS_ENV).
FLAGS = ("XLA_FLAGS", "TF_XLA_FLAGS")
__all__ = ["Clocks", "Graph", "Training", "open_devices"]

MIXED = {
    "mixed_precision": "casts around products", "parameters": "float32",
    "gradient_communication": "float32", "activation_communication": "bfloat16",
}
SHARED_THREADS = "T_i: devices of one process share its threads, only a profile tells them apart"


class Clocks(NamedTuple):
    """Of a timed step: ``busy`` and ``queued`` as a ``StepTrace`` has them."""

    busy: Sequence[Busy]
    queued: Busy = ()


def open_devices(case: Case, count: int) -> list[str]:
    """Prepares the devices that this process drives, with a thread of the pool for each.

    CPU devices are logical devices of the host. TF32 is on if the case asks for it.

    Args:
        case: The case.
        count: Number of devices.

    Returns:
        Names of the devices, such as ``/CPU:0``.

    Raises:
        RuntimeError: There are fewer GPUs than that. TensorFlow by itself would place everything on
            the CPU without a word.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(count)
    if case.device == "cpu":
        physical = tf.config.list_physical_devices("CPU")[0]
        logical = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(physical, logical)
        return [f"/CPU:{index}" for index in range(count)]
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) < count:
        why = "CUDA does not load" if tf.test.is_built_with_cuda() else "built without CUDA"
        raise RuntimeError(f"TensorFlow sees {len(gpus)} of {count} GPUs: {why}")
    tf.config.experimental.enable_tensor_float_32_execution(case.dtype == "tf32")
    if case.memory_limit_bytes:
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=case.memory_limit_bytes >> 20)
        for gpu in gpus[:count]:
            tf.config.set_logical_device_configuration(gpu, [limit])
    return [f"/GPU:{index}" for index in range(count)]


class Training(StepGraph):
    """Trains in a single process: implements ``suite.contract.adapter.Session``.

    Args:
        case: The case.
        weights: Initial weights in canonical layout.
        inputs: The global batches.
        devices: Names of the devices from ``open_devices``.
    """

    no_clock = SHARED_THREADS  # reported if a timed step cannot tell T_i

    def __init__(self, case: Case, weights: Weights, inputs: Inputs, devices: list[str]) -> None:
        super().__init__(case, weights, inputs, devices)
        self._probed: tuple[Graph, dict[str, int] | None] | None = None
        self._silenced: Graph | None = None

    def step(self, index: int) -> tf.Tensor:
        """Trains on global batch ``index``; returns the loss without waiting for it."""
        return self.train(*self.batches[index % len(self.batches)])

    def synchronize(self) -> None:
        """Waits until the work queued on GPUs is done; a CPU step has ended when it returns."""
        if self.case.device == "cuda":
            tf.test.experimental.sync_devices()

    def loss(self, handle: tf.Tensor) -> float:
        """Returns the mean loss of the global batch from what ``step`` returned."""
        return float(handle)

    def gradients(self) -> Weights:
        """Returns the gradients of the first update, in canonical layout."""
        return self.optimizer.first_gradients()

    def parameters(self) -> Weights:
        """Returns the parameters, in canonical layout."""
        return {name: variable.numpy() for name, variable in self.variables.items()}

    def run(self, graph: Graph, index: int) -> None:
        """Runs a step of ``graph`` on global batch ``index`` and waits for it."""
        graph(*self.batches[index % len(self.batches)])
        self.synchronize()

    def timed_step(self, index: int) -> StepTrace:
        """Runs a step of a second graph, which has stamps; the clean graph never has any.

        On GPUs it is profiled: a stamp of a GPU's work would add a copy to the host.
        """
        if self.case.device == "cuda":
            return self.traced_step(index, None)
        graph, _ = self._stamped(index)
        began = time.perf_counter()
        clocks = self.clocked(lambda: self.run(graph, index))
        seconds = time.perf_counter() - began
        missing = "" if clocks.busy else self.no_clock
        return StepTrace(self.stamps.events(), clocks.busy, missing, seconds, clocks.queued)

    def clocked(self, run: Callable[[], None]) -> Clocks:
        """Runs a step and reads the CPU time of this process around it.

        Args:
            run: Runs the step and waits for it.

        Returns:
            The compute clock of the device; none if the process drives several devices or a GPU,
            since its CPU time then does not tell what a device computed.
        """
        first = time.time(), time.process_time()
        run()
        last = time.time(), time.process_time()
        alone = self.case.device == "cpu" and len(self.devices) == 1
        return Clocks(((first, last),) if alone else ())

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        """Runs a step with stamps under TensorFlow's profiler.

        Args:
            index: Number of the global batch.
            timeline: Where to write the profile as Chrome-trace JSON, if anywhere.

        Returns:
            The communications from the stamps, on GPUs from the profile; the compute clocks from
            the profile's operations.
        """
        graph, nodes = self._stamped(index)
        times: list[float] = []

        def run() -> None:
            times.append(time.time())
            self.run(graph, index)
            times.append(time.time())

        space = xplane.record(run)
        began, ended = times
        executed = xplane.operations(space, nodes, self.case.device)
        if self.case.device == "cuda":
            events, unseen = gpu_communications(executed, self.case, began)
        else:
            events, unseen = self.stamps.events(), ""
        if timeline:
            xplane.write_timeline(timeline, executed, events)
        share = xplane.attributed_share(executed)
        if share < xplane.LEAST_ATTRIBUTED:
            missing = f"T_i: the profile tells the device of {share:.0%}"
            return StepTrace(events, missing=missing, seconds=ended - began)
        numbers = range(len(self.devices))
        at_once = len(numbers) if self.case.device == "cpu" else 1
        clocks = [
            xplane.compute_clock(executed, number, began, ended, at_once) for number in numbers
        ]
        return StepTrace(events, clocks, unseen, ended - began)

    def _stamped(self, index: int) -> tuple[Graph, dict[str, int] | None]:
        """Returns the graph with stamps and the devices of its operations; made at first use."""
        if self._probed is None:
            graph = self.new_graph()
            if self.case.device == "cpu":
                self.stamps.enable(2 * len(logical_communications(self.case)))
            nodes = self.node_devices(lambda: self.run(graph, index))
            self.stamps.on = False
            self.run(graph, index)
            self._probed = graph, nodes
        return self._probed

    def node_devices(self, build: Callable[[], None]) -> dict[str, int] | None:
        """Runs a graph for the first time; returns the device of each of its operations."""
        return xplane.node_devices(build)

    def silent_step(self, index: int) -> None:
        """Runs a step of a third graph, in which no device communicates with another."""
        if self._silenced is None:
            self._silenced, self.silent = self.new_graph(), True
            self.run(self._silenced, index)
            self.silent = False
        self.run(self._silenced, index)

    def agree(self, ready: bool) -> bool:
        """Whether all ranks are ready; there is only this process."""
        return ready

    def exchange(self, told: Any) -> list[Any]:
        """Returns what every rank tells; there is only this process."""
        return [told]

    def reset_peak_memory(self) -> None:
        """Starts the peak of memory anew."""
        if self.case.device == "cpu":
            reset_peak_resident()
        for name in self.devices if self.case.device == "cuda" else ():
            tf.config.experimental.reset_memory_stats(name[1:])

    def peak_memory_bytes(self) -> int:
        """Returns the peak of the fullest GPU's allocator, or of the resident set on a CPU."""
        if self.case.device == "cuda":
            return max(
                int(tf.config.experimental.get_memory_info(name[1:])["peak"])
                for name in self.devices
            )
        return peak_resident_bytes()

    def device_memory_bytes(self) -> int:
        """Returns 0: TensorFlow tells only what its own allocator uses."""
        return 0

    def matmul_flops_s(self) -> float:
        """Returns the matrix-product rate of a device in FLOP/s; 0.0 if memory is too short."""
        try:
            return matmul_flops_s(self.devices[0], self.synchronize, self.low or tf.float32)
        except tf.errors.ResourceExhaustedError:  # the matrices do not fit beside the model
            return 0.0

    def describe(self) -> dict[str, str]:
        """Returns versions and switches for the fairness ledger, as they are found now."""
        batch, gpu = self.batches[0], self.case.device == "cuda"
        compiled = found.xla_compiled(self.train, batch, self.case.device)
        tf32 = gpu and found.tf32_products(self.devices[0])
        flags = {name.lower(): os.environ[name] for name in FLAGS if os.environ.get(name)}
        return {
            "tensorflow": tf.__version__,
            "backend": "in-process",
            "threads_per_device": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads()),
            "shared_pool": str(not gpu and len(self.devices) > 1).lower(),
            "onednn": switch(found.onednn_is_on()),
            # A CPU has no TF32, whatever TensorFlow's switch says.
            "tf32": switch(tf32),
            "determinism": switch(is_op_determinism_enabled()),
            "xla": switch(compiled),
            "dtype": found.number_format(
                self.variables.values(), self.case.dtype, tf32, self.train, batch
            ),
            "mode": "compiled" if compiled else "eager",
        } | flags | (MIXED if self.low else {})

    def close(self) -> None:
        """Does nothing: there is no process group to leave."""
