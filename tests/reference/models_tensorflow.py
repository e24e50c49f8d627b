"""The models of the scripts on TensorFlow, each a list of layers, and how they come apart.

A layer is a function of weights by name. What can be split over devices it hands to ``branch``,
with its input: a function whose results on the devices' shards add up to that on whole weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tests.reference.common import (
    BATCH,
    BLOCKS,
    HEADS,
    PARTS,
    SEQUENCE,
    VOCABULARY,
    WIDTH,
    WIDTHS,
    batch,
)

Tensors = Mapping[str, tf.Tensor]
Gradients = dict[str, tf.Tensor]
Part = Callable[[Tensors, tf.Tensor], tf.Tensor]
Branch = Callable[[Part, tf.Tensor], tf.Tensor]

CUT = {"mlp": 1, "gpt": 1 + BLOCKS // 2}  # the second stage's first layer
# What both stages use: the token table, which is the output matrix too.
TIED = {"mlp": (), "gpt": ("token",)}
# Rows (of the GPT tokens) and columns of a micro-batch between the stages.
BOUNDARY = {
    "mlp": (BATCH["mlp"] // PARTS, WIDTHS[2]), "gpt": (BATCH["gpt"] // PARTS * SEQUENCE, WIDTH)
}
# Layers that tensor parallel splits (Shoeybi et al. 2019).
COLUMNS = ("dense0", "dense2", "query", "key", "value", "expand")
ROWS = ("dense1", "dense3", "project", "contract")
HEAD_WIDTH = WIDTH // HEADS
MASK = np.triu(np.full((SEQUENCE, SEQUENCE), -np.inf, np.float32), 1)


@dataclass(frozen=True)
class Layer:
    """``apply`` to weights whose names begin with one of ``holds``."""

    holds: tuple[str, ...]
    apply: Callable[[Tensors, tf.Tensor, Branch], tf.Tensor]


def dense(weights: Tensors, name: str, x: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(x @ weights[f"{name}/kernel"], weights[f"{name}/bias"])


def gelu(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(x, approximate=True)


def pair(first: str, second: str) -> Layer:
    """Two dense layers of the MLP."""

    def part(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        return gelu(dense(weights, first, x)) @ weights[f"{second}/kernel"]

    def apply(weights: Tensors, x: tf.Tensor, branch: Branch) -> tf.Tensor:
        return gelu(tf.nn.bias_add(branch(part, x), weights[f"{second}/bias"]))

    return Layer((first, second), apply)


def norm(weights: Tensors, name: str, x: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    offset, scale = weights[f"{name}/offset"], weights[f"{name}/scale"]
    return tf.nn.batch_normalization(x, mean, variance, offset, scale, 1e-5)


def attention(name: str) -> Part:
    """Of rows of tokens, so that products with weights are plain matrix products."""

    def heads(weights: Tensors, part: str, x: tf.Tensor) -> tf.Tensor:
        y = dense(weights, f"{name}/{part}", x)  # a device may hold a part of the heads
        shape = -1, SEQUENCE, y.shape[-1] // HEAD_WIDTH, HEAD_WIDTH
        return tf.transpose(tf.reshape(y, shape), (0, 2, 1, 3))

    def part(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        query, key, value = (heads(weights, part, x) for part in ("query", "key", "value"))
        scores = tf.matmul(query * HEAD_WIDTH**-0.5, key, transpose_b=True)
        mixed = tf.transpose(tf.matmul(tf.nn.softmax(scores + MASK), value), (0, 2, 1, 3))
        kernel = weights[f"{name}/project/kernel"]
        return tf.reshape(mixed, (-1, kernel.shape[0])) @ kernel

    return part


def block(name: str) -> Layer:
    def feed_forward(weights: Tensors, x: tf.Tensor) -> tf.Tensor:
        return gelu(dense(weights, f"{name}/expand", x)) @ weights[f"{name}/contract/kernel"]

    def apply(weights: Tensors, x: tf.Tensor, branch: Branch) -> tf.Tensor:
        for part, last, number in ((attention(name), "project", 1), (feed_forward, "contract", 2)):
            y = branch(part, norm(weights, f"{name}/norm{number}", x))
            x = x + tf.nn.bias_add(y, weights[f"{name}/{last}/bias"])
        return x

    return Layer((name,), apply)


def embed(weights: Tensors, tokens: tf.Tensor, branch: Branch) -> tf.Tensor:
    return tf.reshape(tf.gather(weights["token"], tokens) + weights["position"], (-1, WIDTH))


def head(weights: Tensors, x: tf.Tensor, branch: Branch) -> tf.Tensor:
    return tf.matmul(norm(weights, "norm", x), weights["token"], transpose_b=True)


def output(weights: Tensors, x: tf.Tensor, branch: Branch) -> tf.Tensor:
    return dense(weights, "dense4", x)


LAYERS = {
    "mlp": [pair("dense0", "dense1"), pair("dense2", "dense3"), Layer(("dense4",), output)],
    "gpt": [
        Layer(("token", "position"), embed), *(block(f"block{index}") for index in range(BLOCKS)),
        Layer(("norm", "token"), head),
    ],
}


def shapes(workload: str) -> dict[str, tuple[int, ...]]:
    kernels: dict[str, tuple[int, int]] = {}
    tables: dict[str, tuple[int, ...]] = {}
    norms: list[str] = []
    if workload == "mlp":
        kernels = {f"dense{i}": (WIDTHS[i], WIDTHS[i + 1]) for i in range(len(WIDTHS) - 1)}
    else:
        tables, norms = {"token": (VOCABULARY, WIDTH), "position": (SEQUENCE, WIDTH)}, ["norm"]
        for name in (f"block{i}" for i in range(BLOCKS)):
            square = ("query", "key", "value", "project")
            kernels |= {f"{name}/{part}": (WIDTH, WIDTH) for part in square}
            kernels[f"{name}/expand"] = WIDTH, 4 * WIDTH
            kernels[f"{name}/contract"] = 4 * WIDTH, WIDTH
            norms += [f"{name}/norm1", f"{name}/norm2"]
    biases = {f"{name}/bias": shape[1:] for name, shape in kernels.items()}
    rest = {f"{name}/{leaf}": (WIDTH,) for name in norms for leaf in ("scale", "offset")}
    return tables | {f"{name}/kernel": shape for name, shape in kernels.items()} | biases | rest


def make_weights(workload: str) -> dict[str, np.ndarray]:
    """From a fixed seed, so that every script begins with the same."""
    generator = np.random.default_rng(1)

    def one(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) == 1:
            return np.full(shape, float(name.endswith("scale")), np.float32)
        deviation = shape[0] ** -0.5 if name.endswith("kernel") else 0.02
        return (generator.standard_normal(shape) * deviation).astype(np.float32)

    return {name: one(name, shape) for name, shape in shapes(workload).items()}


def make_stage(workload: str, index: int) -> tuple[list[Layer], dict[str, np.ndarray]]:
    """Layers of the first or the second stage of a pipeline, and the weights they use."""
    cut = CUT[workload]
    layers = LAYERS[workload][:cut] if index == 0 else LAYERS[workload][cut:]
    used = {name for layer in layers for name in layer.holds}
    weights = make_weights(workload)
    return layers, {name: weights[name] for name in weights if name.split("/")[0] in used}


def split_axis(name: str) -> int | None:
    """The axis that tensor parallel splits a weight along, if it does."""
    layer, leaf = f"/{name}".split("/")[-2:]
    if layer in COLUMNS:
        return 1 if leaf == "kernel" else 0
    return 0 if layer in ROWS and leaf == "kernel" else None


def forward(
    layers: list[Layer], weights: Tensors, x: tf.Tensor, branch: Branch | None = None
) -> tf.Tensor:
    """Through all layers; without ``branch`` nothing is split."""
    for layer in layers:
        x = layer.apply(weights, x, branch or (lambda part, x: part(weights, x)))
    return x


def add_gradients(total: Gradients, found: Gradients) -> Gradients:
    """Those of one more micro-batch; slices of an embedding become whole."""
    dense = {name: tf.convert_to_tensor(gradient) for name, gradient in found.items()}
    return {name: total[name] + dense[name] for name in dense} if total else dense


def cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Mean over samples, of the GPT over all tokens."""
    labels = tf.reshape(targets, (-1,))
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


def tensors(workload: str) -> tuple[tf.Tensor, tf.Tensor]:
    x, y = batch(workload)
    return tf.constant(x), tf.constant(y)
