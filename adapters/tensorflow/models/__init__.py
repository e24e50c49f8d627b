"""The workloads written natively in TensorFlow, as functions of a mapping of weights.

The module of a workload has two functions. ``forward(spec, weights, x, units, apply)`` computes the
logits, or what leaves the contiguous ``units`` of a pipeline stage; between stages tensors are
``(batch, *spec.boundary(unit))``. ``loss(spec)`` returns a function of logits and targets that
computes the mean loss. Each unit passes through ``units.unit``, which may have its inside computed
again in the backward pass. A side input is passed among the weights, under ``SIDE_INPUT``. A model
calls ``apply`` on each of its branches; a strategy that shards branches passes another ``apply``,
so the models know nothing of devices.

Products with weights go through ``branch.product`` or ``branch.matrix``, which may compute in a
type of fewer bits than the variables have. What has to stay exact passes through ``branch.full``
first: the sum of the residual stream, statistics of normalisations, softmax and loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from importlib import import_module

import tensorflow as tf

from adapters.tensorflow.models.branch import Apply, Tensors, full, held, whole
from adapters.tensorflow.models.losses import Loss
from adapters.tensorflow.models.units import recomputing
from suite.contract.errors import UsageError
from suite.contract.workloads import Workload


def forward(
    spec: Workload,
    weights: Tensors,
    x: tf.Tensor,
    units: range | None = None,
    apply: Apply | None = None,
    features: tf.Tensor | None = None,
    recompute: bool = False,
    low: tf.DType | None = None,
) -> tf.Tensor:
    """Computes the forward pass of a model, or of a pipeline stage.

    Args:
        spec: The workload.
        weights: Canonical name to variable.
        x: The features of a batch; for a later stage, what the stage before it put out.
        units: Contiguous units of the stage; None computes the whole model.
        apply: Computes a branch; None computes it on the given weights, unsharded.
        features: The features of the batch for a later stage, if the workload has a side input.
        recompute: Whether units keep their input alone for the backward pass.
        low: Type in which products are computed, and in which activations leave a stage that is
            not the last; None for that of the variables.

    Returns:
        Logits; for a stage that is not the last, its activations.

    Raises:
        UsageError: ``recompute`` is set and the model passes no unit through ``units.unit``.
    """
    chosen = range(len(spec.units())) if units is None else units
    weights = held(spec, weights, x if features is None else features, low)
    module = import_module(spec.tensorflow_module)
    compute = apply or whole(weights)
    with recomputing() if recompute else nullcontext(chosen) as recomputed:
        found = module.forward(spec, weights, x, chosen, compute)
    leaves = low is not None and chosen[-1] < len(spec.units()) - 1
    if len(recomputed) != len(chosen):
        raise UsageError(f"units of {spec.tensorflow_module} through models.units.unit",
                         len(recomputed), f"{len(chosen)}, so that they can be recomputed",
                         "compute each unit with unit(), or drop --recompute")
    return tf.cast(found, low) if leaves else found


def loss_function(spec: Workload) -> Loss:
    """Returns the workload's loss: (logits, targets) to the mean over samples and tokens."""
    loss: Loss = import_module(spec.tensorflow_module).loss(spec)
    return lambda logits, targets: loss(full(logits), targets)


def dense_gradients(
    gradients: Mapping[str, tf.Tensor | tf.IndexedSlices],
) -> dict[str, tf.Tensor]:
    """Makes the sparse gradients of embedding tables dense, since Adam updates every row."""
    return {name: tf.convert_to_tensor(gradient) for name, gradient in gradients.items()}
