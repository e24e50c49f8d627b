"""Single operations in TensorFlow as a training step makes them; constants are measured on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from adapters.tensorflow.models.transformer import attend, causal_mask, layer_norm
from adapters.tensorflow.training.optimizer import Adam
from suite.contract.operations import Lengths
from suite.contract.workloads import Adam as WrittenAdam
from suite.contract.workloads.gpt import LAYER_NORM_EPSILON

# Makes an operation's inputs on the device of the context, and returns what computes on them.
Prepare = Callable[[], Callable[[], object]]


class TensorFlowOperations:
    """Operations on all devices of a process; implements ``suite.contract.operations.Operations``.

    All devices run an operation at the same time, in one graph, as towers of a step do. On one
    alone it would have the threads of the others as well.

    Args:
        devices: Names of the devices, such as ``/CPU:0``.
        compiled: Whether XLA compiles what a device does.
    """

    def __init__(self, devices: Sequence[str], compiled: bool) -> None:
        self.devices, self.compiled = devices, compiled

    def product(self, lengths: Lengths, repeats: int) -> Callable[[], object]:
        """The products of a dense layer."""
        rows, inner, outer = lengths

        def prepare() -> Callable[[], object]:
            x, weight, slope = (tf.random.normal(shape) for shape in (
                (rows, inner), (inner, outer), (rows, outer)))

            def run() -> object:
                made: list[tf.Tensor] = []
                for _ in range(repeats):
                    for multiply in (lambda: tf.matmul(x, weight),
                                     lambda: tf.matmul(slope, weight, transpose_b=True),
                                     lambda: tf.matmul(x, slope, transpose_a=True)):
                        with tf.control_dependencies(made[-1:]):
                            made.append(multiply())
                return made

            return run

        # XLA would make equal products once.
        return self._on_all(prepare, compiled=False)

    def stream(self, elements: int) -> Callable[[], object]:
        """Adds two arrays."""
        def prepare() -> Callable[[], object]:
            a, b = tf.ones(elements), tf.ones(elements)
            return lambda: tf.add(a, b)

        return self._on_all(prepare, self.compiled)

    def attention(self, lengths: Lengths) -> Callable[[], object]:
        """Scaled dot-product attention, forward and backward."""
        mask, shape = causal_mask(lengths[1]), (1, *lengths)
        return self._both_ways(
            lambda query, key, value: attend(query, key, value, mask), [shape, shape, shape])

    def activation(self, elements: int) -> Callable[[], object]:
        """Gelu, forward and backward."""
        return self._both_ways(lambda x: tf.nn.gelu(x, approximate=True), [(elements,)])

    def norm(self, rows: int, width: int) -> Callable[[], object]:
        """Layer normalisation, forward and backward."""
        return self._both_ways(
            lambda x, scale, bias: layer_norm(
                {"norm.scale": scale, "norm.bias": bias}, "norm", x, LAYER_NORM_EPSILON),
            [(rows, width), (width,), (width,)])

    def _both_ways(
        self, function: Callable[..., tf.Tensor], shapes: Sequence[tuple[int, ...]]
    ) -> Callable[[], object]:
        def prepare() -> Callable[[], object]:
            inputs = [tf.random.normal(shape) for shape in shapes]

            def run() -> object:
                with tf.GradientTape() as tape:
                    tape.watch(inputs)
                    result = function(*inputs)
                return tape.gradient(result, inputs)

            return run

        return self._on_all(prepare, self.compiled)

    def layers(self, width: int, number: int) -> Callable[[], object]:
        """Dense layers with activations, forward and backward."""
        def prepare() -> Callable[[], object]:
            weights = [tf.Variable(tf.random.normal((width, width))) for _ in range(number)]
            biases = [tf.Variable(tf.zeros(width)) for _ in range(number)]
            sample = tf.random.normal((1, width))

            def run() -> object:
                with tf.GradientTape() as tape:
                    x = sample
                    for weight, bias in zip(weights, biases, strict=True):
                        x = tf.nn.gelu(tf.linalg.matmul(x, weight) + bias)
                    loss = tf.reduce_sum(x)
                return tape.gradient(loss, [*weights, *biases])

            return run

        return self._on_all(prepare, self.compiled)

    def update(self, parameters: int) -> Callable[[], object]:
        """A step of the optimiser that training uses."""
        def prepare() -> Callable[[], object]:
            gradient = tf.ones(parameters)
            optimizer = Adam(WrittenAdam(), {"weight": tf.Variable(tf.zeros(parameters))})
            return lambda: optimizer.apply({"weight": gradient})

        return self._on_all(prepare, self.compiled)

    def _on_all(self, prepare: Prepare, compiled: bool) -> Callable[[], object]:
        """One graph of what every device does; returns when all results are there."""
        parts = []
        for device in self.devices:
            with tf.device(device):
                part = prepare()
            parts.append(tf.function(part, autograph=False, jit_compile=True)
                         if compiled else part)

        def every() -> list[object]:
            made = []
            for device, part in zip(self.devices, parts, strict=True):
                with tf.device(device):
                    made.append(part())
            return made

        graph = tf.function(every, autograph=False)

        def run() -> None:
            graph()
            if not self.devices[0].startswith("/CPU"):
                tf.test.experimental.sync_devices()

        return run
