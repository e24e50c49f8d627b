"""Training a workload in one process; strategies override the pieces that differ."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled

from adapters.tensorflow.models import dense_gradients, forward, loss_function
from adapters.tensorflow.models.branch import Tensors
from adapters.tensorflow.training import xplane
from adapters.tensorflow.training.matmul_rate import matmul_flops_s
from adapters.tensorflow.training.optimizer import Adam
from adapters.tensorflow.training.stamps import Stamps
from suite.contract.adapter import Busy, Inputs, StepTrace, switch
from suite.contract.case import Case
from suite.contract.planned_loss import planned_loss
from suite.contract.resident_memory import peak_resident_bytes, reset_peak_resident
from suite.contract.splits.volumes import logical_communications
from suite.contract.workloads import Weights

Graph = Callable[..., tf.Tensor]
SHARED_THREADS = "T_i: devices of one process share its threads, only a profile tells them apart"
NO_GPU_STAMPS = "T_comm: a stamp of a GPU's work is a copy to the host, which none is spared"


def open_devices(case: Case, count: int) -> list[str]:
    """Names of the ``count`` devices this process drives; one thread of the pool each.

    CPU devices are logical ones. TF32 is off, as everywhere. Raises :class:`RuntimeError` without
    as many GPUs: TensorFlow would quietly place everything on the CPU.
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
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if case.memory_limit_bytes:
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=case.memory_limit_bytes >> 20)
        for gpu in gpus[:count]:
            tf.config.set_logical_device_configuration(gpu, [limit])
    return [f"/GPU:{index}" for index in range(count)]


class Training:
    """A whole session of the single strategy."""

    no_clock = SHARED_THREADS  # why a timed step cannot tell T_i, where it cannot

    def __init__(self, case: Case, weights: Weights, inputs: Inputs, devices: list[str]) -> None:
        self.case, self.devices = case, devices
        self.spec = case.spec
        self.names = list(weights)
        self.dtype = tf.as_dtype(case.dtype)
        self.loss_function = planned_loss(loss_function(self.spec), case)
        self.stamps = Stamps(devices)
        self.batches = [self.place(*inputs.at(index)) for index in range(inputs.count)]
        self.variables = self.build(weights)
        self.optimizer = self.make_optimizer()
        self.silent = False
        self.turn = 0  # of the micro-batch whose graph is being built
        self._probed: tuple[Graph, dict[str, int]] | None = None
        self._silenced: Graph | None = None
        self.train = self.new_graph()

    def new_graph(self) -> Graph:
        """The step, traced when first called: with stamps while they are on, or silent."""
        return self.graph_of(self.training_step)

    def graph_of(self, function: Callable[..., Any]) -> Graph:
        """Of a function of a batch, compiled by XLA as a whole in that mode."""
        return tf.function(function, autograph=False, jit_compile=self.case.mode == "compiled")

    def tensor(self, array: Any) -> tf.Tensor:
        """On a GPU integers are wide: TensorFlow keeps those of 32 bits in the host's memory."""
        wide = tf.int64 if self.case.device == "cuda" else None
        return tf.constant(array, self.dtype if array.dtype.kind == "f" else wide)

    def place(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """A global batch where the step reads it."""
        with tf.device(self.devices[0]):
            return self.tensor(features), self.tensor(targets)

    def build(self, weights: Weights) -> Tensors:
        with tf.device(self.devices[0]):
            return {name: tf.Variable(self.tensor(array)) for name, array in weights.items()}

    def make_optimizer(self) -> Adam:
        return Adam(self.spec.optimizer, self.variables)

    def compute_device(self) -> AbstractContextManager[Any]:
        """Where the operations of a step are placed."""
        return tf.device(self.devices[0])

    def loss_and_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Mean loss of a batch and the gradients of the variables, dense."""
        with self.compute_device():
            with tf.GradientTape() as tape:
                loss = self.mean_loss(features, targets)
            return loss, self.tape_gradients(tape, loss)

    def tape_gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> dict[str, tf.Tensor]:
        return dense_gradients(tape.gradient(loss, dict(self.variables)))

    def mean_loss(self, features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Of equal parts one by one, where devices or micro-batches would compute them."""
        groups = self.case.statistics_groups
        if groups == 1:
            return self.loss_function(forward(self.spec, self.variables, features), targets)
        parts = zip(tf.split(features, groups), tf.split(targets, groups), strict=True)
        losses = [self.loss_function(forward(self.spec, self.variables, x), y) for x, y in parts]
        return tf.add_n(losses) / groups

    def accumulated(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """``loss_and_gradients`` of the micro-batches one after another: mean loss, mean gradients.

        Each waits for the sums so far, so that only one's activations are alive.
        """
        parts = self.case.accumulate
        if parts == 1:
            return self.loss_and_gradients(features, targets)
        losses: list[tf.Tensor] = []
        sums: dict[str, tf.Tensor] = {}
        for turn, (x, y) in enumerate(self.micro_batches(features, targets)):
            self.turn = turn
            with tf.control_dependencies(list(sums.values())):
                x, y = tf.nest.map_structure(_in_place, (x, y))
            loss, found = self.loss_and_gradients(x, y)
            losses.append(loss)
            sums = {name: self._plus(name, sums.get(name), part) for name, part in found.items()}
        self.turn = 0
        with self.compute_device():
            return tf.add_n(losses) / parts, sums

    def _plus(self, name: str, total: tf.Tensor | None, part: tf.Tensor) -> tf.Tensor:
        """A micro-batch's share of a mean gradient, on top of those before it."""
        with tf.device(self.variables[name].device):
            share = part / self.case.accumulate
            return share if total is None else total + share

    def micro_batches(self, features: Any, targets: Any) -> Iterable[tuple[Any, Any]]:
        """Equal contiguous parts of what this process computes on."""
        parts = self.case.accumulate
        with self.compute_device():
            return zip(tf.split(features, parts), tf.split(targets, parts), strict=True)

    def training_step(self, features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        loss, gradients = self.batch_gradients(features, targets)
        self.optimizer.apply(self.all_there(gradients))
        return loss

    def batch_gradients(
        self, features: tf.Tensor, targets: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Loss and gradients that the update is made from."""
        return self.accumulated(features, targets)

    def all_there(self, gradients: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Each once its device has all of its own, so that no update meets a reader.

        A variable that is updated while a product still holds what it read is copied first.
        """
        devices: dict[str, list[str]] = {}
        for name in gradients:
            devices.setdefault(self.variables[name].device, []).append(name)
        found: dict[str, tf.Tensor] = {}
        for device, names in devices.items():
            with tf.device(device), tf.control_dependencies([gradients[name] for name in names]):
                found |= {name: tf.identity(gradients[name]) for name in names}
        return found

    def step(self, index: int) -> tf.Tensor:
        return self.train(*self.batches[index % len(self.batches)])

    def synchronize(self) -> None:
        if self.case.device == "cuda":
            tf.test.experimental.sync_devices()

    def loss(self, handle: tf.Tensor) -> float:
        return float(handle)

    def gradients(self) -> Weights:
        return self.optimizer.first_gradients()

    def parameters(self) -> Weights:
        return {name: variable.numpy() for name, variable in self.variables.items()}

    def run(self, graph: Graph, index: int) -> None:
        """One step of ``graph`` on global batch ``index``, finished when this returns."""
        graph(*self.batches[index % len(self.batches)])
        self.synchronize()

    def timed_step(self, index: int) -> StepTrace:
        """A step of a second graph that holds the stamps; the clean graph never does."""
        graph, _ = self._stamped(index)
        began = time.perf_counter()
        busy = self.clocked(lambda: self.run(graph, index))
        seconds = time.perf_counter() - began
        if self.case.device == "cuda":
            return StepTrace(missing=NO_GPU_STAMPS, seconds=seconds)
        missing = "" if busy else self.no_clock
        return StepTrace(self.stamps.events(), busy, missing, seconds)

    def clocked(self, run: Callable[[], None]) -> Sequence[Busy]:
        """Runs a step; compute clocks if this process's CPU time is one device's."""
        first = time.time(), time.process_time()
        run()
        last = time.time(), time.process_time()
        return ((first, last),) if self.case.device == "cpu" and len(self.devices) == 1 else ()

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        """A stamped step under the profiler, whose operations are the devices' compute clocks."""
        graph, nodes = self._stamped(index)
        times: list[float] = []

        def run() -> None:
            times.append(time.time())
            self.run(graph, index)
            times.append(time.time())

        space = xplane.record(run)
        began, ended = times
        found, events = xplane.operations(space, nodes, self.case.device), self.stamps.events()
        if timeline:
            xplane.write_timeline(timeline, found, events)
        share = xplane.attributed_share(found)
        if share < xplane.LEAST_ATTRIBUTED:
            missing = f"T_i: the profile tells the device of {share:.0%}"
            return StepTrace(events, missing=missing, seconds=ended - began)
        numbers = range(len(self.devices))
        at_once = len(numbers) if self.case.device == "cpu" else 1
        clocks = [xplane.compute_clock(found, number, began, ended, at_once) for number in numbers]
        return StepTrace(events, clocks, seconds=ended - began)

    def _stamped(self, index: int) -> tuple[Graph, dict[str, int]]:
        """The graph with stamps and the devices of its operations; built and warmed once."""
        if self._probed is None:
            graph = self.new_graph()
            if self.case.device == "cpu":
                self.stamps.enable(2 * len(logical_communications(self.case)))
            nodes = xplane.node_devices(lambda: self.run(graph, index))
            self.stamps.on = False
            self.run(graph, index)
            self._probed = graph, nodes
        return self._probed

    def silent_step(self, index: int) -> None:
        """A step of a third graph in which no device gets anything from another."""
        if self._silenced is None:
            self._silenced, self.silent = self.new_graph(), True
            self.run(self._silenced, index)
            self.silent = False
        self.run(self._silenced, index)

    def agree(self, ready: bool) -> bool:
        return ready

    def reset_peak_memory(self) -> None:
        if self.case.device == "cpu":
            reset_peak_resident()
        for name in self.devices if self.case.device == "cuda" else ():
            tf.config.experimental.reset_memory_stats(name[1:])

    def peak_memory_bytes(self) -> int:
        if self.case.device == "cuda":
            return max(
                int(tf.config.experimental.get_memory_info(name[1:])["peak"])
                for name in self.devices
            )
        return peak_resident_bytes()

    def device_memory_bytes(self) -> int:
        return 0  # TensorFlow tells its allocator's alone

    def matmul_flops_s(self) -> float:
        try:
            return matmul_flops_s(self.devices[0], self.synchronize)
        except tf.errors.ResourceExhaustedError:  # the model fits, and matrices beside it do not
            return 0.0

    def describe(self) -> dict[str, str]:
        return {
            "tensorflow": tf.__version__,
            "backend": "in-process",
            "threads_per_device": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads()),
            "shared_pool": str(self.case.device == "cpu" and len(self.devices) > 1).lower(),
            "onednn": switch(os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") == "1"),
            # A CPU has no TF32, whatever the switch says.
            "tf32": switch(
                self.case.device == "cuda"
                and tf.config.experimental.tensor_float_32_execution_enabled()
            ),
            "determinism": switch(is_op_determinism_enabled()),
            "xla": switch(self.case.mode == "compiled"),
            "dtype": self.dtype.name,
            "mode": self.case.mode,
        }

    def close(self) -> None:
        """Nothing is shared with another process."""


def _in_place(tensor: tf.Tensor) -> tf.Tensor:
    """The same on the same device, where control dependencies hold it back."""
    with tf.device(tensor.device):
        return tf.identity(tensor)
