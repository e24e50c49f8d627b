"""What each strategy has to communicate in a step, by closed formula: the truth for B and N."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from suite.contract.case import Case
from suite.contract.splits.shards import shard_axes
from suite.contract.splits.stages import stage_units, stages_of_weights, tied_weights

# Bytes of a number in float32, and in a 16-bit format.
BYTES, LOW_BYTES = 4, 2
# (kind, payload bytes) of each communication.
Communications = list[tuple[str, int]]


def logical_communications(case: Case) -> Communications:
    """Lists every communication of one step, before the framework buckets or fuses them.

    ``data``: one all-reduce of the gradient of each parameter tensor. Gradients that are sent in
    16 bits have 2 bytes an element, all others 4.

    ``data`` with ``fsdp`` (Rajbhandari et al. 2020, stage 3): an all-gather of each tensor for the
    forward pass, another one for the backward pass if the tensor belongs to a unit (units are
    sharded again in between; what is outside of them stays whole), and a reduce-scatter of its
    gradient. Tensors are padded to whole rows for each device. With ``zero2`` a unit stays whole
    until its backward pass, which then gathers nothing. With ``zero1`` every device updates some
    of the tensors, and broadcasts them besides the all-reduces of ``data``.

    ``intra_layer`` (Shoeybi et al. 2019, section 3): an all-reduce at the end of each column/row
    pair in the forward pass, and another one at its start in the backward pass, if the input of
    the pair has a gradient. If the forward pass is recomputed, its sums come twice. An adapter
    that places shards on the devices of one process instead moves the same tensors between the
    first device and the others.

    ``inter_layer``: for each micro-batch and cut, an activation in the forward pass and its
    gradient in the backward pass. The gradient of a parameter that both the first and the last
    stage hold is summed once; if one device holds the parameter, the parameter and its gradient
    are moved instead. Numbers have 4 bytes, but in bf16 activations, their gradients and gathered
    parameters have 2 where the transport allows it.

    On a mesh these are summed over all groups of each axis. Shards exchange, and stages pass on, a
    replica's share of the batch or a micro-batch of it. Each group of replicas reduces the parts
    of the parameters that its stage and shard hold.

    If gradients are accumulated, they are communicated once a step. What a forward or backward
    pass needs (gathers, sums within a layer) is communicated once a micro-batch.

    Args:
        case: The case.

    Returns:
        (kind, payload bytes) of each communication, over all devices.
    """
    if case.variant in ("fsdp", "zero2"):
        return _sharded(case)
    parts = {"data": _data, "intra_layer": _intra_layer, "inter_layer": _inter_layer}
    return [sent for axis in case.axes.names for sent in parts[axis](case)]


def _chunks(case: Case) -> int:
    """Counts the parts of the global batch that pass through the model by themselves."""
    staged = "inter_layer" in case.axes.names
    return case.axes.size("data") * (case.micro_batches if staged else case.accumulate)


def _held(case: Case) -> Iterator[tuple[str, int]]:
    """Yields (name, bytes) of every parameter, or part of one, that a replica's devices hold.

    Every shard's device has a copy of what no plan splits, and both ends have one of what is tied.
    Manual placement in one process has one copy of either.
    """
    mesh, placed = case.axes, case.placed
    shards, axes = mesh.size("intra_layer"), shard_axes(case.spec)
    holders = stages_of_weights(case.spec, case.stages, case.stage_speeds, case.cut)
    for name, shape in case.spec.shapes().items():
        size, split = BYTES * prod(shape), name in axes and shards > 1
        copies = 1 if placed else len(holders[name])
        for _ in range(shards * copies if split or not placed else copies):
            yield name, size // shards if split else size


def _data(case: Case) -> Communications:
    rate = BYTES // LOW_BYTES if case.compression else 1
    sent: Communications = [("all_reduce", size // rate) for _, size in _held(case)]
    if case.variant == "zero1":
        sent += [("broadcast", size) for _, size in _held(case)]
    return sent


def _sharded(case: Case) -> Communications:
    sent: Communications = []
    units = case.spec.units()
    for name, shape in case.spec.shapes().items():
        # PyTorch splits a tensor along its first axis, which is that of the outputs or channels.
        leaf = name.rpartition(".")[2]
        first = shape[{"weight": -1, "depthwise": 2}.get(leaf, 0)]
        padded = -(-first // case.devices) * case.devices
        entries = (prod(shape) // first) * padded
        again = case.variant == "fsdp" and name.split(".")[0] in units
        gathers = case.accumulate * (1 + again)
        sent += [("all_gather", case.activation_bytes * entries)] * gathers
        sent.append(("reduce_scatter", BYTES * entries))
    return sent


def _intra_layer(case: Case) -> Communications:
    hops = case.axes.size("intra_layer") - 1 if case.placed else 0
    chunks = _chunks(case)
    chunk_bytes = case.activation_bytes * (case.spec.global_batch // chunks)
    sent: Communications = []
    for branch in case.spec.branches():
        entering = chunk_bytes * branch.entering
        leaving = chunk_bytes * branch.leaving
        backward = branch.input_has_gradient
        if hops:
            sent += [("send_recv", entering)] * (hops * (1 + backward))
            sent += [("send_recv", leaving)] * (hops * 2)
        else:
            sent += [("all_reduce", leaving)] * (1 + case.recomputes)
            sent += [("all_reduce", entering)] * backward
        if branch.middle:
            size = chunk_bytes * branch.middle.elements
            # One process moves the parts to the first device and the sum back, and the same for
            # the gradient.
            sums = [("all_reduce", size)] * (2 + case.recomputes)
            sent += [("send_recv", size)] * (4 * hops) if hops else sums
    return sent * chunks


def _inter_layer(case: Case) -> Communications:
    mesh, placed = case.axes, case.placed
    stages, chunks = case.stages, _chunks(case)
    # Each shard of a stage sends by itself; with manual placement a stage has one sender.
    pipelines = 1 if placed else mesh.size("intra_layer")
    chunk_bytes = case.activation_bytes * (case.spec.global_batch // chunks)
    sent: Communications = []
    unit = 0
    for group in stage_units(case.spec, stages, case.stage_speeds, case.cut)[:-1]:
        unit += len(group)
        size = chunk_bytes * prod(case.spec.boundary(unit))
        sent += [("send_recv", size)] * (2 * chunks * pipelines)
    for name in tied_weights(case.spec, stages):
        table = BYTES * prod(case.spec.shapes()[name])
        ends = [("send_recv", table)] * 2 if placed else [("all_reduce", table)]
        sent += ends * (mesh.size("data") * pipelines)
    return sent
