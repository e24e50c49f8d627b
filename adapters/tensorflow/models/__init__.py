"""The workloads written natively in TensorFlow: functions of a mapping of weights.

A model's module has ``forward(spec, weights, x, units, apply)``, logits or what leaves the
contiguous ``units`` of a pipeline's stage, and ``loss(spec)``, a mean over logits and targets.
Between stages tensors are ``(batch, *spec.boundary(unit))``. A side input is among the weights,
under ``SIDE_INPUT``. Models hand their branches to ``apply``; who splits them replaces it, and the
models know nothing of devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import tensorflow as tf

from adapters.tensorflow.models.branch import Apply, Tensors, held, whole
from adapters.tensorflow.models.losses import Loss
from suite.contract.workloads import Workload


def forward(
    spec: Workload,
    weights: Tensors,
    x: tf.Tensor,
    units: range | None = None,
    apply: Apply | None = None,
    features: tf.Tensor | None = None,
) -> tf.Tensor:
    """Logits of a batch; ``units`` computes a stage, on ``features`` beside its input."""
    chosen = range(len(spec.units())) if units is None else units
    weights = held(spec, weights, x if features is None else features)
    module = import_module(spec.tensorflow_module)
    return module.forward(spec, weights, x, chosen, apply or whole(weights))


def loss_function(spec: Workload) -> Loss:
    """Mean loss over samples (and tokens) of logits against targets."""
    loss: Loss = import_module(spec.tensorflow_module).loss(spec)
    return loss


def dense_gradients(
    gradients: Mapping[str, tf.Tensor | tf.IndexedSlices],
) -> dict[str, tf.Tensor]:
    """Embedding gradients come as slices; the written optimiser updates every row."""
    return {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}
