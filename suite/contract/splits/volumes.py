"""What each strategy has to communicate in a step, by closed formula: the truth for B and N."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from suite.contract.case import Case
from suite.contract.splits.shards import shard_axes
from suite.contract.splits.stages import stage_units, stages_of_weights, tied_weights

BYTES, LOW_BYTES = 4, 2
Communications = list[tuple[str, int]]


def logical_communications(case: Case) -> Communications:
    """(kind, payload bytes) of every communication of one step, before bucketing or fusion.

    data: one all-reduce a parameter tensor, of its gradient; fully sharded, an all-gather of the
    tensor for the forward pass, another for the backward pass if it belongs to a unit (which is
    sharded again in between; what is outside stays whole), and a reduce-scatter of its gradient
    (Rajbhandari et al. 2020, stage 3). With zero2 a unit stays whole until its backward pass, which
    then gathers nothing. Tensors are padded to whole rows a device. With zero1 each device updates
    some of the tensors and broadcasts them. Compressed, a gradient has 2 bytes an entry.
    intra_layer: an all-reduce forward at the end of each column/row pair, a second one where the
    pass is recomputed, and one backward at its start, where that has a gradient
    (Shoeybi et al. 2019, section 3); an adapter that places shards on the devices of one process
    moves the same tensors by hops between the first device and the others. inter_layer: an
    activation forward and its gradient backward, a micro-batch and cut, and the gradient of what
    first and last stage both hold, summed
    once (hops of the parameter and of its gradient where one device holds it). float32; in bf16
    activations, their gradients and gathered parameters have 2 bytes where the transport can.

    On a mesh these are summed over all groups of each axis: a replica's share of the batch, or a
    micro-batch of it, is what its shards exchange and its stages pass on, and each group of
    replicas reduces the parts of parameters that its stage and shard hold.

    Accumulating, gradients are communicated once a step, and what a forward or backward pass needs
    (gathers, an intra-layer sum) once a micro-batch.
    """
    if case.variant in ("fsdp", "zero2"):
        return _sharded(case)
    parts = {"data": _data, "intra_layer": _intra_layer, "inter_layer": _inter_layer}
    return [one for axis in case.axes.names for one in parts[axis](case)]


def _chunks(case: Case) -> int:
    """Parts of the global batch that pass through the model on their own: shares, micro-batches."""
    staged = "inter_layer" in case.axes.names
    return case.axes.size("data") * (case.micro_batches if staged else case.accumulate)


def _held(case: Case) -> Iterator[tuple[str, int]]:
    """(name, bytes) of every parameter or part of one that a replica holds, on all its devices.

    What no plan splits every shard's device has a copy of, and both ends of what is tied;
    manual placement in one process has one of either.
    """
    mesh, placed = case.axes, case.placed
    shards, axes = mesh.size("intra_layer"), shard_axes(case.spec)
    holders = stages_of_weights(case.spec, case.stages)
    for name, shape in case.spec.shapes().items():
        size, split = BYTES * prod(shape), name in axes and shards > 1
        copies = 1 if placed else len(holders[name])
        for _ in range(shards * copies if split or not placed else copies):
            yield name, size // shards if split else size


def _data(case: Case) -> Communications:
    rate = BYTES // LOW_BYTES if case.compression else 1
    found: Communications = [("all_reduce", size // rate) for _, size in _held(case)]
    if case.variant == "zero1":
        found += [("broadcast", size) for _, size in _held(case)]
    return found


def _sharded(case: Case) -> Communications:
    found: Communications = []
    units = case.spec.units()
    for name, shape in case.spec.shapes().items():
        # PyTorch splits its first axis: the outputs, or the channels.
        leaf = name.rpartition(".")[2]
        first = shape[{"weight": -1, "depthwise": 2}.get(leaf, 0)]
        padded = -(-first // case.devices) * case.devices
        entries = (prod(shape) // first) * padded
        again = case.variant == "fsdp" and name.split(".")[0] in units
        gathers = case.accumulate * (1 + again)
        found += [("all_gather", case.activation_bytes * entries)] * gathers
        found.append(("reduce_scatter", BYTES * entries))
    return found


def _intra_layer(case: Case) -> Communications:
    hops = case.axes.size("intra_layer") - 1 if case.placed else 0
    chunks = _chunks(case)
    chunk_bytes = case.activation_bytes * (case.spec.global_batch // chunks)
    found: Communications = []
    for branch in case.spec.branches():
        entering = chunk_bytes * branch.entering
        leaving = chunk_bytes * branch.leaving
        backward = branch.input_has_gradient
        if hops:
            found += [("send_recv", entering)] * (hops * (1 + backward))
            found += [("send_recv", leaving)] * (hops * 2)
        else:
            found += [("all_reduce", leaving)] * (1 + case.recomputes)
            found += [("all_reduce", entering)] * backward
        if branch.middle:
            size = chunk_bytes * branch.middle.elements
            # By hops: parts to the first device and the sum back, and the same for the gradient.
            sums = [("all_reduce", size)] * (2 + case.recomputes)
            found += [("send_recv", size)] * (4 * hops) if hops else sums
    return found * chunks


def _inter_layer(case: Case) -> Communications:
    mesh, placed = case.axes, case.placed
    stages, chunks = case.stages, _chunks(case)
    # Beside each stage of a replica there is one for each shard; manual placement has one sender.
    pipelines = 1 if placed else mesh.size("intra_layer")
    chunk_bytes = case.activation_bytes * (case.spec.global_batch // chunks)
    found: Communications = []
    unit = 0
    for group in stage_units(case.spec, stages, case.stage_speeds)[:-1]:
        unit += len(group)
        size = chunk_bytes * prod(case.spec.boundary(unit))
        found += [("send_recv", size)] * (2 * chunks * pipelines)
    for name in tied_weights(case.spec, stages):
        table = BYTES * prod(case.spec.shapes()[name])
        ends = [("send_recv", table)] * 2 if placed else [("all_reduce", table)]
        found += ends * (mesh.size("data") * pipelines)
    return found
