"""The models of the scripts on TensorFlow, each a list of layers, and how they come apart.

A family's module has ``layers()``. A layer is a function of weights by name; what can be split over
devices it computes on shards, whose results add up to those on whole weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import cast

import numpy as np
import tensorflow as tf

from tests.reference.common import BATCH, CUT, PARTS, batch

Tensors = Mapping[str, tf.Tensor]
Gradients = dict[str, tf.Tensor]
Shapes = dict[str, tuple[int, ...]]
Part = Callable[..., tf.Tensor]  # of a shard's weights, and of what enters it

TIED = ("token/table",)  # what both stages use: the token table is the output matrix too
FEATURES = "features"  # among the weights: what the model reads


class Shards:
    """Where the split layers are: here alone, on whole weights."""

    def __init__(self, *weights: Tensors) -> None:
        self.weights = weights

    def copies(self, x: tf.Tensor) -> list[tf.Tensor]:
        """What every shard reads."""
        return [x]

    def each(self, part: Part, *inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        """``part`` of every shard."""
        arguments = zip(self.weights, *inputs, strict=True)
        return [part(weights, *entering) for weights, *entering in arguments]

    def total(self, partial: list[tf.Tensor]) -> tf.Tensor:
        [whole] = partial
        return whole

    def branch(self, part: Part, x: tf.Tensor) -> tf.Tensor:
        return self.total(self.each(part, self.copies(x)))


@dataclass(frozen=True)
class Layer:
    """``apply`` to weights of these shapes.

    Tensor parallel splits ``columns`` by outputs or channels and ``rows`` by inputs (Shoeybi et al.
    2019).
    """

    shapes: Mapping[str, tuple[int, ...]]
    apply: Callable[[Tensors, tf.Tensor, Shards], tf.Tensor]
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


def dense_shapes(name: str, entering: int, leaving: int) -> Shapes:
    return {f"{name}/kernel": (entering, leaving), f"{name}/bias": (leaving,)}


def norm_shapes(name: str, width: int) -> Shapes:
    return {f"{name}/scale": (width,), f"{name}/offset": (width,)}


def dense(weights: Tensors, name: str, x: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(x @ weights[f"{name}/kernel"], weights[f"{name}/bias"])


def make_layers(workload: str) -> list[Layer]:
    return cast("list[Layer]", import_module(f"{__name__}.{workload}").layers())


def make_weights(layers: list[Layer]) -> dict[str, np.ndarray]:
    """From a fixed seed, so that every script begins with the same."""
    generator = np.random.default_rng(1)

    def one(name: str, shape: tuple[int, ...]) -> np.ndarray:
        leaf = name.split("/")[-1]
        if leaf in ("scale", "offset", "bias"):
            return np.full(shape, float(leaf == "scale"), np.float32)
        inputs = shape[:-2] if leaf == "depthwise" else shape[:-1]
        deviation = 0.02 if leaf == "table" else np.prod(inputs) ** -0.5
        return (generator.standard_normal(shape) * deviation).astype(np.float32)

    shapes = {name: shape for layer in layers for name, shape in layer.shapes.items()}
    return {name: one(name, shape) for name, shape in shapes.items()}


def make_stage(workload: str, index: int) -> tuple[list[Layer], dict[str, np.ndarray]]:
    """Layers of the first or the second stage of a pipeline, and the weights they use."""
    layers, cut = make_layers(workload), CUT[workload]
    weights = make_weights(layers)
    stage = layers[:cut] if index == 0 else layers[cut:]
    used = {name for layer in stage for name in layer.shapes}
    return stage, {name: weights[name] for name in weights if name in used}


def boundary(workload: str) -> tuple[int, ...]:
    """Shape of a micro-batch between the stages."""
    layers, weights = make_stage(workload, 0)
    x, _ = tensors(workload)
    return tuple(forward(layers, weights, x[: BATCH[workload] // PARTS]).shape)


def tied(workload: str) -> list[str]:
    return [name for name in TIED if name in make_stage(workload, 1)[1]]


def split_axes(layers: list[Layer]) -> dict[str, int]:
    """Name of each weight that tensor parallel splits, and the axis."""
    found = {}
    for layer in layers:
        for name, shape in layer.shapes.items():
            owner, leaf = name.rsplit("/", 1)
            if owner in layer.columns:
                found[name] = len(shape) - (2 if leaf == "depthwise" else 1)
            elif owner in layer.rows and leaf == "kernel":
                found[name] = len(shape) - 2
    return found


def forward(
    layers: list[Layer], weights: Tensors, x: tf.Tensor, shards: Shards | None = None,
    features: tf.Tensor | None = None,
) -> tf.Tensor:
    """Through all layers; without ``shards`` nothing is split. A second stage has ``features``."""
    seen = {**weights, FEATURES: x if features is None else features}
    for layer in layers:
        x = layer.apply(seen, x, shards or Shards(seen))
    return x


def in_groups(layers: list[Layer], weights: Tensors, x: tf.Tensor, groups: int) -> tf.Tensor:
    """Logits of groups of samples, each by itself, as of replicas: batch norm sees no more."""
    if groups == 1:
        return forward(layers, weights, x)
    return tf.concat([forward(layers, weights, group) for group in tf.split(x, groups)], 0)


def add_gradients(total: Gradients, found: Gradients) -> Gradients:
    """Those of one more micro-batch; slices of an embedding become whole."""
    dense = {name: tf.convert_to_tensor(gradient) for name, gradient in found.items()}
    return {name: total[name] + dense[name] for name in dense} if total else dense


def cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Mean over samples, or over all tokens."""
    labels = tf.reshape(targets, (-1,))
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


def predicted_cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Mean over the tokens that have a target."""
    labels = tf.reshape(targets, (-1,))
    weight = tf.cast(labels >= 0, tf.float32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.maximum(labels, 0), logits=logits
    )
    return tf.reduce_sum(losses * weight) / tf.reduce_sum(weight)


def loss_of(workload: str) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    return predicted_cross_entropy if workload in ("bert", "xlnet") else cross_entropy


def tensors(workload: str) -> tuple[tf.Tensor, tf.Tensor]:
    x, y = batch(workload)
    return tf.constant(x), tf.constant(y)
