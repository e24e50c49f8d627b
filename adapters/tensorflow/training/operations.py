"""Single operations in TensorFlow as a training step makes them; constants are measured on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from adapters.tensorflow.models.transformer import attend, causal_mask, layer_norm
from adapters.tensorflow.training.optimizer import Adam
from suite.contract.operations import Lengths
from suite.contract.workloads import Adam as WrittenAdam
from suite.contract.workloads.gpt import LAYER_NORM_EPSILON


class TensorFlowOperations:
    """Operations on one device; implements ``suite.contract.operations.Operations``.

    Args:
        device: Name of the device, such as ``/CPU:0``.
        compiled: Whether XLA compiles the layers.
    """

    def __init__(self, device: str, compiled: bool) -> None:
        self.device, self.compiled = device, compiled

    def product(self, lengths: Lengths) -> Callable[[], object]:
        """Multiplies two matrices."""
        rows, inner, outer = lengths
        with tf.device(self.device):
            a, b = tf.random.normal((rows, inner)), tf.random.normal((inner, outer))
        return self._finished(lambda: tf.linalg.matmul(a, b))

    def stream(self, elements: int) -> Callable[[], object]:
        """Adds two arrays."""
        with tf.device(self.device):
            a, b = tf.ones(elements), tf.ones(elements)
        return self._finished(lambda: tf.add(a, b))

    def attention(self, lengths: Lengths) -> Callable[[], object]:
        """Scaled dot-product attention, forward and backward, in a graph as steps are."""
        mask, shape = causal_mask(lengths[1]), (1, *lengths)
        return self._both_ways(
            lambda query, key, value: attend(query, key, value, mask), [shape, shape, shape])

    def activation(self, elements: int) -> Callable[[], object]:
        """Gelu, forward and backward, in a graph as steps are."""
        return self._both_ways(lambda x: tf.nn.gelu(x, approximate=True), [(elements,)])

    def norm(self, rows: int, width: int) -> Callable[[], object]:
        """Layer normalisation, forward and backward, in a graph as steps are."""
        return self._both_ways(
            lambda x, scale, bias: layer_norm(
                {"norm.scale": scale, "norm.bias": bias}, "norm", x, LAYER_NORM_EPSILON),
            [(rows, width), (width,), (width,)])

    def _both_ways(
        self, function: Callable[..., tf.Tensor], shapes: Sequence[tuple[int, ...]]
    ) -> Callable[[], object]:
        with tf.device(self.device):
            inputs = [tf.random.normal(shape) for shape in shapes]

        def run() -> Any:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                result = function(*inputs)
            return tape.gradient(result, inputs)

        return self._finished(tf.function(run, autograph=False, jit_compile=self.compiled))

    def layers(self, width: int, number: int) -> Callable[[], object]:
        """Dense layers with activations, forward and backward, in a graph as steps are."""
        with tf.device(self.device):
            weights = [tf.Variable(tf.random.normal((width, width))) for _ in range(number)]
            biases = [tf.Variable(tf.zeros(width)) for _ in range(number)]
            sample = tf.random.normal((1, width))

        def run() -> Any:
            with tf.GradientTape() as tape:
                x = sample
                for weight, bias in zip(weights, biases, strict=True):
                    x = tf.nn.gelu(tf.linalg.matmul(x, weight) + bias)
                loss = tf.reduce_sum(x)
            return tape.gradient(loss, [*weights, *biases])

        return self._finished(tf.function(run, autograph=False, jit_compile=self.compiled))

    def update(self, parameters: int) -> Callable[[], object]:
        """A step of the optimiser that training uses, in a graph."""
        with tf.device(self.device):
            variable = tf.Variable(tf.zeros(parameters))
            gradient = tf.ones(parameters)
        optimizer = Adam(WrittenAdam(), {"weight": variable})
        graph = tf.function(lambda: optimizer.apply({"weight": gradient}), autograph=False)
        return self._finished(graph)

    def _finished(self, operation: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            with tf.device(self.device):
                operation()
            if not self.device.startswith("/CPU"):
                tf.test.experimental.sync_devices()

        return run
