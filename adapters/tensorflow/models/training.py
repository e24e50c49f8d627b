"""Training a workload in one process; strategies override the pieces that differ."""

from __future__ import annotations

import resource
import time
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from adapters.tensorflow.models import Tensors, dense_gradients, forward, loss_function
from adapters.tensorflow.models.optimizer import Adam
from adapters.tensorflow.models.stamps import Stamps
from suite.spec.adapter import Inputs, StepTrace
from suite.spec.case import Case
from suite.spec.workloads import Weights


def open_devices(case: Case, count: int, first: int = 0) -> list[str]:
    """Names of the ``count`` devices this process drives; one thread of the pool each.

    CPU devices are logical ones; GPUs count from ``first``. TF32 is off, as everywhere.
    """
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(count)
    if case.device == "cpu":
        physical = tf.config.list_physical_devices("CPU")[0]
        logical = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(physical, logical)
        return [f"/CPU:{index}" for index in range(count)]
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return [f"/GPU:{first + index}" for index in range(count)]


class Training:
    """A whole session of the single strategy."""

    def __init__(self, case: Case, weights: Weights, inputs: Inputs, devices: list[str]) -> None:
        self.case, self.devices = case, devices
        self.spec = case.spec
        self.names = list(weights)
        self.dtype = tf.as_dtype(case.dtype)
        self.loss_function = loss_function(self.spec)
        self.stamps = Stamps()
        self.batches = [self.place(*inputs.at(index)) for index in range(inputs.count)]
        self.variables = self.build(weights)
        self.optimizer = self.make_optimizer()
        compiled = case.mode == "compiled"
        self.train = tf.function(self.training_step, autograph=False, jit_compile=compiled)
        self.differentiate = tf.function(self.whole_gradients, autograph=False)

    def tensor(self, array: Any) -> tf.Tensor:
        return tf.constant(array, self.dtype if array.dtype.kind == "f" else None)

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
                loss = self.loss_function(forward(self.spec, self.variables, features), targets)
            return loss, dense_gradients(tape.gradient(loss, dict(self.variables)))

    def training_step(self, features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        loss, gradients = self.loss_and_gradients(features, targets)
        self.optimizer.apply(gradients)
        return loss

    def whole_gradients(self, features: tf.Tensor, targets: tf.Tensor) -> dict[str, tf.Tensor]:
        """Gradients of the global batch under canonical names."""
        return self.loss_and_gradients(features, targets)[1]

    def step(self, index: int) -> tf.Tensor:
        return self.train(*self.batches[index % len(self.batches)])

    def synchronize(self) -> None:
        if self.case.device == "cuda":
            tf.test.experimental.sync_devices()

    def loss(self, handle: tf.Tensor) -> float:
        return float(handle)

    def gradients(self, index: int) -> Weights:
        found = self.differentiate(*self.batches[index % len(self.batches)])
        return {name: tensor.numpy() for name, tensor in found.items()}

    def parameters(self) -> Weights:
        return {name: variable.numpy() for name, variable in self.variables.items()}

    def timed_step(self, index: int) -> StepTrace:
        """A step of a second graph that holds the stamps; the clean graph never does."""
        if not hasattr(self, "probed"):
            self.stamps.enable(self._most_marks())
            self.probed = tf.function(self.training_step, autograph=False)
            self.probed(*self.batches[index % len(self.batches)])
            self.synchronize()
        began = time.process_time()
        self.probed(*self.batches[index % len(self.batches)])
        self.synchronize()
        busy = time.process_time() - began
        if self.case.device == "cpu" and len(self.devices) == 1:
            return StepTrace(self.stamps.events(), (busy,))
        reason = "T_i: devices of one process share its threads, only a profile tells them apart"
        return StepTrace(self.stamps.events(), missing=reason)

    def _most_marks(self) -> int:
        """Two a variable and device in data parallel; four a hop and direction elsewhere."""
        return 2 * self.case.devices * len(self.names) + 8 * self.case.devices**2

    def peak_memory_bytes(self) -> int:
        if self.case.device == "cuda":
            return max(
                int(tf.config.experimental.get_memory_info(name[1:])["peak"])
                for name in self.devices
            )
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def describe(self) -> dict[str, str]:
        return {
            "tensorflow": tf.__version__,
            "backend": "in-process",
            "intra_op_threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
            "inter_op_threads": str(tf.config.threading.get_inter_op_parallelism_threads()),
            "shared_pool": str(self.case.device == "cpu" and len(self.devices) > 1).lower(),
            "tf32": str(tf.config.experimental.tensor_float_32_execution_enabled()),
            "dtype": self.case.dtype,
            "mode": self.case.mode,
        }

    def close(self) -> None:
        """Nothing is shared with another process."""
