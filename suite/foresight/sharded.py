"""Communication of data parallelism: gradients once a step, or shards gathered for every unit."""

from __future__ import annotations

from typing import cast

import numpy as np

from suite.foresight.collectives import all_gather_seconds, all_reduce_seconds
from suite.foresight.machine import Link, Software
from suite.foresight.plans import Plans
from suite.foresight.units import Array, Numbers

# Buckets into which gradients are cut so that they can be reduced while others are computed.
BUCKETS = 8.0


def gradient_seconds(held: Numbers, plans: Plans, link: Link, software: Software) -> Array:
    """Seconds of reducing the gradients of ``held`` parameters over the replicas.

    An all-reduce, or with sharded states a reduce-scatter of gradients and an all-gather of the
    new parameters, which moves the same bytes (Rajbhandari et al. 2020, section 7).
    """
    size = plans.replicas * plans.context
    sent = held * software.gradient_bytes
    calls = np.maximum(1.0, software.first_calls + sent / software.call_bytes)
    reduced = (all_reduce_seconds(sent, size, link)
               + (calls - 1.0) * all_reduce_seconds(0.0, size, link))
    scattered = all_gather_seconds(held * software.gradient_bytes, size, link)
    gathered = all_gather_seconds(held * software.weight_bytes, size, link)
    sharded = (plans.sharding > 0) & (plans.sharding < 3)
    return cast(Array, np.where(plans.sharding == 3, 0.0,
                                np.where(sharded, scattered + gathered, reduced)))


def exposed_gradient_seconds(
    seconds: Array, backward_s: Array, overlaps: Numbers, call_slowdown: Numbers = 1.0
) -> Array:
    """The part of the reduction that no backward pass hides.

    With overlap the buckets are reduced during the last micro-batch's backward pass; the last
    bucket is always exposed (Li et al. 2020, section 3.2.3).

    Args:
        seconds: Of the whole reduction, with nothing beside it.
        backward_s: Seconds of the backward pass.
        overlaps: 1 where gradients are reduced while the backward pass goes on, 0 where not.
        call_slowdown: How many times as long a reduction takes while the device computes.
    """
    hidden = np.minimum(seconds * (1.0 - 1.0 / BUCKETS), backward_s / call_slowdown)
    return seconds - overlaps * hidden


def gather_seconds(
    unit_parameters: Numbers, plans: Plans, link: Link, software: Software
) -> tuple[Array, Array]:
    """Seconds of communication of one fully sharded unit: (forward pass, backward pass).

    Its parameters are gathered before either pass and its gradients scattered after the backward
    pass, for every micro-batch (Zhao et al. 2023, section 3). Nothing where parameters are whole.
    """
    gathered = all_gather_seconds(unit_parameters * software.weight_bytes, plans.replicas, link)
    scattered = all_gather_seconds(unit_parameters * software.gradient_bytes, plans.replicas, link)
    full = plans.sharding == 3
    return (cast(Array, np.where(full, gathered, 0.0)),
            cast(Array, np.where(full, gathered + scattered, 0.0)))


def copy_seconds(
    unit_parameters: Numbers, plans: Plans, stream_bytes_s: Numbers, software: Software
) -> tuple[Array, Array]:
    """Seconds of copies of one fully sharded unit: (forward pass, backward pass).

    PyTorch's FSDP by parameter gathers a unit's parameters in one buffer and copies each to a
    tensor of its own, before either pass, and copies gradients into another before they are
    scattered (``foreach_all_gather_copy_out`` and ``foreach_reduce_scatter_copy_in`` in its
    ``_fsdp_collectives.py``), in the stream that computes.
    """
    second = np.where(plans.sharding == 3, unit_parameters, 0.0) / stream_bytes_s
    gathered = second * software.gather_copy_bytes
    return gathered, gathered + second * software.scatter_copy_bytes


def beside(compute_s: Array, communication_s: Array, contention: Numbers) -> tuple[Array, Array]:
    """Seconds of a unit whose communication runs beside its compute, and the exposed part.

    A share of the compute is lost while both run, since they share memory bandwidth and
    processors; what of the communication outlasts the compute is exposed.

    Args:
        compute_s: Seconds of compute alone.
        communication_s: Seconds of communication alone.
        contention: One and the share of compute that is lost beside communication.

    Returns:
        Seconds of both together, and the exposed seconds among them.
    """
    shared = np.minimum(communication_s, compute_s)
    slowed = compute_s + shared * (contention - 1.0)
    exposed = np.maximum(communication_s - slowed, 0.0)
    return slowed + exposed, exposed
