"""Seconds of a collective call: ring and tree, on the link that its group needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from suite.foresight.machine import Link, Machine
from suite.foresight.units import Array, Numbers


@dataclass(frozen=True)
class GroupLink(Link):
    """The link of a group that may span nodes; its rate is that of the slower way.

    Attributes:
        nodes: Nodes that the group spans.
        inside: Delay of a hop inside a node, and bytes a second there.
        network_bytes_s: Bytes a second that the group has of a node's network cards.
    """

    nodes: Numbers
    inside: Link
    network_bytes_s: Numbers


def group_link(machine: Machine, size: Array, stride: Array, devices: Array) -> GroupLink:
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
        Latency, bandwidth and nodes, each (configurations,).
    """
    in_node = np.minimum(machine.devices_per_node, devices)
    leaves = size * stride > in_node
    sharing = np.minimum(stride, in_node)
    network = machine.between.bytes_s * in_node / np.maximum(sharing, 1.0)
    bandwidth = np.where(leaves, np.minimum(network, machine.inside.bytes_s),
                         machine.inside.bytes_s)
    latency = np.where(leaves, machine.between.latency_s, machine.inside.latency_s)
    nodes = np.where(leaves, np.ceil(size / np.floor(in_node / sharing)), 1.0)
    return GroupLink(latency, bandwidth, nodes, machine.inside, network)


def _hops(link: Link, size: Numbers) -> Numbers:
    """Delay of a ring's n - 1 hops: one enters each further node, the others stay inside.

    As NCCL counts them (``ncclTopoTuneModel`` in its ``src/graph/tuning.cc``).
    """
    if not isinstance(link, GroupLink):
        return (size - 1.0) * link.latency_s
    return (size - link.nodes) * link.inside.latency_s + (link.nodes - 1.0) * link.latency_s


def _tree_seconds(payload: Numbers, size: Numbers, link: Link) -> Numbers:
    """A reduction and a broadcast through ceil(log2 n) levels, pipelined in chunks.

    Every device of a large tree sends twice the payload, up and down (Sanders et al. 2009, as
    NCCL's two trees of half the payload each). Where a group spans two nodes, each is the root of
    one tree: half the payload goes up and half of it down, so the payload crosses the network once
    in either direction and not, as in a ring, nearly twice. NCCL's own model counts a tree over two
    nodes with the rate inside a node for that reason.
    """
    if not isinstance(link, GroupLink):
        return 2.0 * np.ceil(np.log2(size)) * link.latency_s + 2.0 * payload / link.bytes_s
    delay = 2.0 * (np.ceil(np.log2(size / link.nodes)) * link.inside.latency_s
                   + np.ceil(np.log2(link.nodes)) * link.latency_s)
    two = np.maximum(2.0 * payload / link.inside.bytes_s, payload / link.network_bytes_s)
    return delay + np.where(np.asarray(link.nodes) == 2, two, 2.0 * payload / link.bytes_s)


def all_reduce_seconds(payload: Numbers, size: Numbers, link: Link) -> Array:
    """The faster of a ring and a tree; a group of one communicates nothing.

    Ring: 2 (n - 1) a + 2 (n - 1) / n · B / bandwidth (Patarasuk & Yuan 2009). Tree:
    2 ceil(log2 n) a + 2 B / bandwidth.
    """
    n = np.maximum(size, 1.0)
    ring = 2.0 * _hops(link, n) + 2.0 * (n - 1.0) / n * payload / link.bytes_s
    return cast(Array, np.where(n > 1, np.minimum(ring, _tree_seconds(payload, n, link)), 0.0))


def all_gather_seconds(payload: Numbers, size: Numbers, link: Link) -> Array:
    """A ring: (n - 1) a + (n - 1) / n · B / bandwidth for the B bytes of the gathered tensor.

    There is no tree to fall back on: NCCL gathers and scatters in rings however large the group is
    (its ``ncclTopoTuneModel`` skips every other way but the switches' own and, since version 2.23,
    a logarithmic one for a single device a node). Reduce-scatter takes as long.
    """
    n = np.maximum(size, 1.0)
    seconds = _hops(link, n) + (n - 1.0) / n * payload / link.bytes_s
    return cast(Array, np.where(n > 1, seconds, 0.0))


def hop_seconds(payload: Numbers, link: Link) -> Array:
    """One message: a + B / bandwidth (Hockney 1994)."""
    return cast(Array, link.latency_s + payload / link.bytes_s)


def all_reduce_wire_bytes(payload: Numbers, size: Numbers) -> Numbers:
    """Bytes that each rank of a ring sends: 2 (n - 1) / n of the payload."""
    return 2.0 * (size - 1.0) / size * payload
