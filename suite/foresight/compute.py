"""Seconds that a device computes: matrix products, memory-bound operations, launches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.foresight.machine import Machine, Stack
from suite.foresight.plans import FULL, SELECTIVE, Plans
from suite.foresight.units import Array, Numbers, Product, Unit

ORDER = 6.0
TINY = 1e-30


def efficiency(flops: Numbers, half_flops: Numbers) -> Numbers:
    """Share of the best rate that a product reaches by its work: F / (F + F0).

    A product has a fixed cost beside its work, in which the device fills and drains; it is as
    long as the work of F0 FLOPs (Hockney's n½, here of a product: Hockney 1982).
    """
    return flops / (flops + half_flops)


def shape_efficiency(lengths: tuple[Numbers, ...], narrow: Numbers) -> Numbers:
    """Share of the rate that is left for narrow matrices: the product of d / (d + d0).

    Devices work on tiles of fixed size; a length near a tile's leaves most of it idle or reuses
    too little of what was loaded (NVIDIA, Matrix Multiplication Background, on arithmetic
    intensity and tile quantisation).
    """
    share: Numbers = 1.0
    for length in lengths:
        share = share * (length / (length + narrow))
    return share


def product_seconds(
    product: Product, samples: Numbers, shards: Numbers, machine: Machine, element_bytes: Numbers
) -> Numbers:
    """Seconds of one product for ``samples`` samples on one of ``shards`` devices.

    The roofline (Williams et al. 2009): the longer of computing at e(F) times the rate, and of
    moving the three matrices through memory.
    """
    rows, inner, outer, count = product.rows, product.inner, product.outer, product.count
    inner = inner / shards if product.split == "inner" else inner
    outer = outer / shards if product.split == "outer" else outer
    count = count / shards if product.split == "count" else count
    if product.samples_in_count:
        count = count * samples
    else:
        rows = rows * samples
    flops = 2.0 * rows * inner * outer * count
    rate = machine.product_flops_s * efficiency(flops, machine.half_flops)
    narrow = shape_efficiency((rows, inner, outer), machine.narrow)
    rate = rate * np.where(np.asarray(product.fused) > 0, 1.0, narrow)
    if product.samples_in_count:
        rate = rate * machine.attention_share
    if product.sixteen_bit:
        rate = rate * machine.sixteen_bit_share
    moved = element_bytes * count * (rows * inner + inner * outer + rows * outer)
    moved = moved * (1.0 - product.fused)
    return np.maximum(flops / rate, moved / machine.stream_bytes_s)


def stream_seconds(elements: Numbers, element_bytes: Numbers, machine: Machine) -> Numbers:
    """Seconds of memory-bound operations: bytes read and written over the memory's rate."""
    return elements * element_bytes / machine.stream_bytes_s


def host_and_device(device_s: Array, host_s: Array) -> Array:
    """Seconds of a pass that the host starts and the device works off: nearly the longer of both.

    Either waits for the other now and then, most where both take equally long; the norm of order
    six is at most 12 % above the maximum, there.
    """
    longer = np.maximum(np.maximum(device_s, host_s), TINY)
    return longer * ((device_s / longer) ** ORDER + (host_s / longer) ** ORDER) ** (1.0 / ORDER)


@dataclass(frozen=True)
class UnitTimes:
    """Seconds of one unit and micro-batch on one device; arrays (configurations,).

    Attributes:
        forward_s: Device time of the forward pass, communication excluded.
        backward_s: Device time of the backward pass, with what is recomputed.
        forward_launch_s: Time in which the host starts the operations of the forward pass.
        backward_launch_s: The same of the backward pass.
    """

    forward_s: Array
    backward_s: Array
    forward_launch_s: Array
    backward_launch_s: Array


def unit_times(unit: Unit, plans: Plans, stack: Stack) -> UnitTimes:
    """Times of one unit: products twice as long backward, streams too, recomputation added.

    A kernel that keeps no scores computes them again: five products backward for two forward, 2.5
    times as long (Dao et al. 2022, algorithm 4, and ``flops`` in its
    ``benchmarks/benchmark_flash_attention.py``); the program says which (``attention_backward``).
    """
    machine, software = stack.machine, stack.software
    samples = plans.micro_batch / plans.context
    products: Numbers = 0.0
    repeated: Numbers = 0.0
    alternate: Numbers = 0.0
    for product in unit.products:
        seconds = product_seconds(
            product, samples, plans.shards, machine, software.activation_bytes)
        products = products + seconds
        alternate = alternate + product.alternate * seconds
        if product.samples_in_count:
            repeated = repeated + seconds
    whole = samples / np.where(plans.sequence_parallel > 0, plans.shards, 1.0)
    elements = whole * unit.streamed + samples * unit.streamed_split / plans.shards
    others = np.maximum(unit.launches - len(unit.products), 0.0) * machine.ramp_s
    curved = samples * unit.curved_split / plans.shards * machine.curve_s
    normed = whole * unit.normed * machine.norm_s
    streams = stream_seconds(elements, software.activation_bytes, machine)
    forward = products + streams + curved + normed + others
    dropped = samples * 2.0 * (unit.dropped + unit.dropped_split) / plans.shards
    other = software.alternate_products
    beside = software.selective_products * (products - repeated)
    again = (other * alternate + (1.0 - other) * (repeated + beside)
             + stream_seconds(dropped, software.activation_bytes, machine))
    again = np.where(software.selective_blocks > np.zeros(len(plans)),
                     software.selective_blocks * forward, again)
    body = unit.place == "body"
    full = (plans.recompute == FULL) & body
    some = (plans.recompute == SELECTIVE) & body
    backward = (2.0 * forward + (software.attention_backward - 2.0) * repeated
                + np.where(full, forward, np.where(some, again, 0.0)))
    launch = unit.launches * machine.launch_s * np.ones(len(plans))
    ratio = software.backward_launches + np.where(full, 1.0, np.where(some, 0.2, 0.0))
    return UnitTimes(forward * np.ones(len(plans)), backward, launch, launch * ratio)
