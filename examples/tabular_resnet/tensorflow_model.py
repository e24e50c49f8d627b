"""The network in TensorFlow; ``apply`` computes the branches, which may be sharded."""

from functools import partial

import tensorflow as tf

from adapters.tensorflow.models.branch import add_bias, linear
from adapters.tensorflow.models.losses import cross_entropy
from adapters.tensorflow.models.units import unit


def norm(weights, name, x):
    """Normalises (batch, width) over the last axis."""
    mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
    scale, bias = weights[f"{name}.scale"], weights[f"{name}.bias"]
    return tf.nn.batch_normalization(x, mean, variance, bias, scale, 1e-5)


def residual(weights, block, apply, x):
    """Computes a block, which may be recomputed as a whole, of a branch that may be sharded."""

    def pair(weights, y):
        hidden = tf.nn.gelu(linear(weights, f"{block}.expand", y))
        yield tf.matmul(hidden, weights[f"{block}.contract.weight"]), add_bias(f"{block}.contract")

    return x + apply(pair, norm(weights, f"{block}.norm", x))


def forward(spec, weights, x, units, apply):
    """Maps (batch, columns) to logits (batch, classes); stages exchange (batch, width)."""
    if 0 in units:
        x = linear(weights, "embed", x)
    for index in units:
        x = unit(partial(residual, weights, f"block{index}", apply), x)
    last = spec.blocks - 1 in units
    return linear(weights, "head", norm(weights, "norm", x)) if last else x


def loss(spec):
    """Returns the cross-entropy."""
    return cross_entropy
