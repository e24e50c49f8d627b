"""Branches: the parts of a model that may be computed in shards on several devices.

A branch is a generator that computes on the weights of one device. Whenever the devices have to add
something up, it yields this device's partial result, and a function that finishes the total, such
as by adding a bias that is not sharded. The finished total is sent back into the generator, or is
the result of the branch if it was the last. The caller advances the generators of all devices side
by side::

    def branch(weights, x):
        total = yield tf.matmul(x, weights["row.weight"]), add_bias("row")
        yield tf.matmul(total * x, weights["last.weight"]), add_bias("last")
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import suppress

import tensorflow as tf

from suite.contract.workloads import Branch as Plan
from suite.contract.workloads import Workload

# Canonical name to the variable on a device.
Tensors = Mapping[str, tf.Variable]
SIDE_INPUT = "features"
# Under this name the type of products stands among the weights, if it is not that of the variables.
# It has to go where they go: a recomputed unit is traced again when its forward pass is over.
LOW = "low"
# (unsharded weights, total) to the finished total.
Finish = Callable[[Tensors, tf.Tensor], tf.Tensor]
Partial = tuple[tf.Tensor, Finish]
Branch = Callable[[Tensors, tf.Tensor], Generator[Partial, tf.Tensor, None]]
# Computes a branch on its input, with whatever sharding a strategy wants.
Apply = Callable[[Branch, tf.Tensor], tf.Tensor]


def named_variable(name: str, value: tf.Tensor) -> tf.Variable:
    """Makes a variable that TensorFlow knows by the parameter's canonical name.

    A recomputed unit sorts its variables by their names. If all of them were called "Variable",
    ranks would disagree on the order, and on which gradient Horovod sums under which name.

    Args:
        name: The parameter's canonical name.
        value: Its initial value.
    """
    return tf.Variable(value, name=name)


class Share:
    """A branch that is being computed on a device.

    Args:
        branch: The branch.
        weights: The weights, or shards of them, of this device.
    """

    def __init__(self, branch: Branch, weights: Tensors) -> None:
        self.branch, self._weights = branch, weights
        self._running: Generator[Partial, tf.Tensor, None] | None = None

    def advance(self, entering: tf.Tensor) -> Partial:
        """Computes up to the next sum over the devices.

        Args:
            entering: The input of the branch in the first call, then the finished total of the
                sum before.

        Returns:
            This device's partial result, and the function that finishes the total.

        Raises:
            StopIteration: ``entering`` was the last total, which is the result of the branch.
        """
        if self._running is None:
            self._running = self.branch(self._weights, entering)
            return next(self._running)
        return self._running.send(entering)


def sums(plan: Plan) -> int:
    """Counts the sums over devices in a branch, including the sum that is its result."""
    return 1 if plan.middle is None else 2


def held(
    spec: Workload, weights: Tensors, features: tf.Tensor, low: tf.DType | None = None
) -> Tensors:
    """Adds to the weights of a device what its branches need besides them.

    Args:
        spec: The workload.
        weights: Canonical name to the variable on the device.
        features: The features of the batch, added if the workload has a side input.
        low: Type in which products are computed; None for the variables' own.
    """
    side = {SIDE_INPUT: features} if spec.side_input else {}
    return {**weights, **side} if low is None else {**weights, **side, LOW: low}


def whole(weights: Tensors) -> Apply:
    """Makes the ``apply`` for a single device, whose partial results are the totals already."""

    def apply(branch: Branch, x: tf.Tensor) -> tf.Tensor:
        share = Share(branch, weights)
        with suppress(StopIteration):
            while True:
                partial, finish = share.advance(x)
                x = finish(weights, partial)
        return x

    return apply


def matrix(weights: Tensors, name: str) -> tf.Tensor:
    """Returns a factor of products in the type in which products are computed."""
    low = weights.get(LOW)
    return weights[name] if low is None else tf.cast(weights[name], low)


def product(weights: Tensors, name: str, x: tf.Tensor) -> tf.Tensor:
    """Multiplies x (batch, in) with the matrix ``name`` (in, out), in the type of products."""
    factor = matrix(weights, name)
    return tf.matmul(tf.cast(x, factor.dtype), factor)


def linear(weights: Tensors, name: str, x: tf.Tensor) -> tf.Tensor:
    """Computes a linear layer with bias: (batch, in) to (batch, out)."""
    return add_bias(name)(weights, product(weights, f"{name}.weight", x))


def add_bias(name: str) -> Finish:
    """Makes the function that adds the bias of a row-parallel layer to the total, once."""
    return lambda weights, total: tf.nn.bias_add(
        total, tf.cast(weights[f"{name}.bias"], total.dtype)
    )


def full(x: tf.Tensor) -> tf.Tensor:
    """Converts bfloat16 to float32, for sums, statistics and losses; leaves other types alone."""
    return tf.cast(x, tf.float32) if x.dtype == tf.bfloat16 else x
