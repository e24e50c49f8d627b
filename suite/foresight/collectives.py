"""Seconds of a collective call: ring and tree, on the link that its group needs."""

from __future__ import annotations

from typing import cast

import numpy as np

from suite.foresight.machine import Link, Machine
from suite.foresight.units import Array, Numbers


def group_link(machine: Machine, size: Array, stride: Array, devices: Array) -> Link:
    """The link of a group of ``size`` ranks, each ``stride`` ranks after the one before.

    A group that fits into a node uses the link inside it. Otherwise it is bound by the network:
    a ring enters and leaves each node once, so the groups that pass through a node at the same
    time, ``min(stride, devices per node)`` of them, share the node's network cards, and none is
    faster than the link inside (Thakur et al. 2005; NCCL's rings).

    Args:
        machine: Links and devices of a node.
        size: Ranks of the group, (configurations,).
        stride: Distance of neighbouring ranks of the group.
        devices: Devices of the whole configuration.

    Returns:
        Latency and bandwidth, each (configurations,).
    """
    in_node = np.minimum(machine.devices_per_node, devices)
    leaves = size * stride > in_node
    sharing = np.minimum(stride, in_node)
    network = machine.between.bytes_s * in_node / np.maximum(sharing, 1.0)
    bandwidth = np.where(leaves, np.minimum(network, machine.inside.bytes_s),
                         machine.inside.bytes_s)
    latency = np.where(leaves, machine.between.latency_s, machine.inside.latency_s)
    return Link(latency, bandwidth)


def all_reduce_seconds(payload: Numbers, size: Numbers, link: Link) -> Array:
    """The faster of a ring and a tree.

    Ring: 2 (n - 1) a + 2 (n - 1) / n · B / bandwidth (Patarasuk & Yuan 2009). Tree: a reduction
    and a broadcast through ceil(log2 n) levels, pipelined in chunks, 2 ceil(log2 n) a + 2 B /
    bandwidth (Sanders et al. 2009, as NCCL's trees). A group of one communicates nothing.
    """
    n = np.maximum(size, 1.0)
    levels = np.ceil(np.log2(n))
    ring = 2.0 * (n - 1.0) * link.latency_s + 2.0 * (n - 1.0) / n * payload / link.bytes_s
    tree = 2.0 * levels * link.latency_s + 2.0 * payload / link.bytes_s
    return cast(Array, np.where(n > 1, np.minimum(ring, tree), 0.0))


def all_gather_seconds(payload: Numbers, size: Numbers, link: Link) -> Array:
    """A ring: (n - 1) a + (n - 1) / n · B / bandwidth for the B bytes of the gathered tensor.

    Latency is that of a tree of the same height where the group is large, since a ring of
    thousands is never used (Thakur et al. 2005, recursive doubling). Reduce-scatter takes as long.
    """
    n = np.maximum(size, 1.0)
    steps = np.minimum(n - 1.0, 2.0 * np.ceil(np.log2(n)))
    seconds = steps * link.latency_s + (n - 1.0) / n * payload / link.bytes_s
    return cast(Array, np.where(n > 1, seconds, 0.0))


def hop_seconds(payload: Numbers, link: Link) -> Array:
    """One message: a + B / bandwidth (Hockney 1994)."""
    return cast(Array, link.latency_s + payload / link.bytes_s)


def all_reduce_wire_bytes(payload: Numbers, size: Numbers) -> Numbers:
    """Bytes that each rank of a ring sends: 2 (n - 1) / n of the payload."""
    return 2.0 * (size - 1.0) / size * payload
