"""What each strategy has to communicate in a step, by closed formula: the truth for B and N."""

from __future__ import annotations

from math import prod

from suite.spec.case import Case
from suite.spec.strategies import micro_batches, stage_units, tied_weights

BYTES, LOW_BYTES = 4, 2
Communications = list[tuple[str, int]]


def logical_communications(case: Case) -> Communications:
    """(kind, payload bytes) of every communication of one step, before bucketing or fusion.

    data: one all-reduce a parameter tensor, of its gradient; fully sharded, an all-gather of the
    tensor for the forward pass, another for the backward pass if it belongs to a unit (which is
    sharded again in between; what is outside stays whole), and a reduce-scatter of its gradient
    (Rajbhandari et al. 2020, stage 3). Tensors are padded to whole rows a device. intra_layer: an
    all-reduce forward at the end of each column/row pair and one backward at its start, where that
    has a gradient
    (Shoeybi et al. 2019, section 3); TensorFlow's manual placement moves the same tensors by hops
    between the first device and the others. inter_layer: an activation forward and its gradient
    backward, a micro-batch and cut, and the gradient of what first and last stage both hold, summed
    once (hops of the parameter and of its gradient where one device holds it). float32; in bf16
    activations, their gradients and gathered parameters have 2 bytes where the transport can.
    """
    if case.variant == "fsdp":
        return _sharded(case)
    if case.strategy == "data":
        return [("all_reduce", BYTES * prod(shape)) for shape in case.spec.shapes().values()]
    if case.strategy == "intra_layer":
        return _intra_layer(case)
    if case.strategy == "inter_layer":
        return _inter_layer(case)
    return []


def _activation_bytes(case: Case) -> int:
    """Horovod has no bfloat16."""
    return LOW_BYTES if case.dtype == "bf16" and case.framework != "horovod" else BYTES


def _sharded(case: Case) -> Communications:
    found: Communications = []
    units = case.spec.units()
    for name, shape in case.spec.shapes().items():
        # PyTorch splits its first axis: the outputs, or the channels.
        leaf = name.rpartition(".")[2]
        first = shape[{"weight": -1, "depthwise": 2}.get(leaf, 0)]
        padded = -(-first // case.devices) * case.devices
        entries = (prod(shape) // first) * padded
        gathers = 2 if name.split(".")[0] in units else 1
        found += [("all_gather", _activation_bytes(case) * entries)] * gathers
        found.append(("reduce_scatter", BYTES * entries))
    return found


def _intra_layer(case: Case) -> Communications:
    hops = case.devices - 1 if case.framework == "tensorflow" else 0
    found: Communications = []
    samples_bytes = _activation_bytes(case) * case.spec.global_batch
    for branch in case.spec.branches():
        entering = samples_bytes * branch.entering
        leaving = samples_bytes * branch.leaving
        backward = branch.input_has_gradient
        if hops:
            found += [("send_recv", entering)] * (hops * (1 + backward))
            found += [("send_recv", leaving)] * (hops * 2)
        else:
            found += [("all_reduce", leaving)] + [("all_reduce", entering)] * backward
        if branch.middle:
            size = samples_bytes * branch.middle.elements
            # By hops: parts to the first device and the sum back, and the same for the gradient.
            found += [("send_recv", size)] * (4 * hops) if hops else [("all_reduce", size)] * 2
    return found


def _inter_layer(case: Case) -> Communications:
    parts = micro_batches(case.variant, case.devices)
    found: Communications = []
    unit = 0
    for group in stage_units(case.spec, case.devices)[:-1]:
        unit += len(group)
        samples = case.spec.global_batch // parts
        size = _activation_bytes(case) * samples * prod(case.spec.boundary(unit))
        found += [("send_recv", size)] * (2 * parts)
    for name in tied_weights(case.spec, case.devices):
        table = BYTES * prod(case.spec.shapes()[name])
        hops = case.framework == "tensorflow"
        found += [("send_recv", table)] * 2 if hops else [("all_reduce", table)]
    return found
