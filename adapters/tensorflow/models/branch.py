"""Branches: the parts of a model that may be computed in shards.

A branch is a generator on one device's weights. It yields its share of a sum over the devices, and
what is made of the total once, on unsplit weights; that enters it again, or leaves it if it was the
last. Who drives it advances all devices side by side::

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

Tensors = Mapping[str, tf.Variable]
SIDE_INPUT = "features"
Finish = Callable[[Tensors, tf.Tensor], tf.Tensor]
Partial = tuple[tf.Tensor, Finish]
Branch = Callable[[Tensors, tf.Tensor], Generator[Partial, tf.Tensor, None]]
Apply = Callable[[Branch, tf.Tensor], tf.Tensor]


class Share:
    """A branch in progress on one device."""

    def __init__(self, branch: Branch, weights: Tensors) -> None:
        self.branch, self._weights = branch, weights
        self._running: Generator[Partial, tf.Tensor, None] | None = None

    def advance(self, entering: tf.Tensor) -> Partial:
        """The next partial result, from what enters: the branch's input, then each total."""
        if self._running is None:
            self._running = self.branch(self._weights, entering)
            return next(self._running)
        return self._running.send(entering)


def sums(plan: Plan) -> int:
    """How many totals a branch has, the one that leaves it included."""
    return 1 if plan.middle is None else 2


def held(spec: Workload, weights: Tensors, features: tf.Tensor) -> Tensors:
    """A device's weights and, where they are a side input, its copy of the features."""
    return {**weights, SIDE_INPUT: features} if spec.side_input else weights


def whole(weights: Tensors) -> Apply:
    """A branch on unsplit weights: every partial result is the total."""

    def apply(branch: Branch, x: tf.Tensor) -> tf.Tensor:
        share = Share(branch, weights)
        with suppress(StopIteration):
            while True:
                partial, finish = share.advance(x)
                x = finish(weights, partial)
        return x

    return apply


def linear(weights: Tensors, name: str, x: tf.Tensor) -> tf.Tensor:
    """(batch, in) -> (batch, out), with bias."""
    return tf.nn.bias_add(tf.matmul(x, weights[f"{name}.weight"]), weights[f"{name}.bias"])


def add_bias(name: str) -> Finish:
    """Of a total: the bias of the layer that was split along its inputs."""
    return lambda weights, total: tf.nn.bias_add(total, weights[f"{name}.bias"])
