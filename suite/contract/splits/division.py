"""Checks that a case divides evenly: the batch, the shards, the stages and the micro-batches."""

from __future__ import annotations

import itertools
from dataclasses import replace

from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.splits.schedule import micro_batches
from suite.contract.splits.shards import branch_parameters, shard_axes
from suite.contract.splits.shares import proportional_shares
from suite.contract.splits.stages import stages_of_weights
from suite.contract.splits.strategies import VIRTUAL_STAGES
from suite.contract.workloads import Workload

OR_BATCH = "choose another --devices or --batch"
OR_MESH = "choose another --devices or --mesh"


def check_divides(case: Case) -> None:
    """Checks that the batch and the model can be divided as the case's strategy asks.

    Args:
        case: The case to check.

    Raises:
        UsageError: Something does not divide evenly, or a device would get no sample or no unit.
    """
    spec, mesh = case.spec, case.axes
    label = f"{spec.name} {spec.size}, {case.strategy}"
    replicas = mesh.size("data")
    _check_replicas(case, label, replicas)
    if "intra_layer" in mesh.names:
        _check_shards(spec, label, mesh.size("intra_layer"))
    if "inter_layer" in mesh.names:
        _check_stages(case, label, mesh.size("inter_layer"), spec.global_batch // replicas)
        if "intra_layer" in mesh.names:
            _check_uncut(case, label)
    _check_accumulates(case, label)


def division_problem(case: Case) -> str:
    """Returns why the case does not divide evenly, without the fix; empty if it does."""
    try:
        check_divides(case)
    except UsageError as error:
        return str(error).partition(". Fix:")[0]
    return ""


def _check_replicas(case: Case, label: str, replicas: int) -> None:
    """Checks that replicas get equal numbers of samples, or at least one if planned by speed."""
    batch = case.spec.global_batch
    if case.strategy == "data" and case.device_speeds:
        if not min(proportional_shares(batch, case.device_speeds)):
            expected = f"a sample of the global batch {batch} for each"
            _refuse(label, replicas, expected, "give a larger --batch, or other --device-speeds")
    elif batch % replicas:
        _refuse(label, replicas, f"a divisor of the global batch {batch}", OR_BATCH)


def _check_shards(workload: Workload, label: str, devices: int) -> None:
    """Checks that the shards divide every sharded axis and every count, such as that of heads."""
    for name, axis in shard_axes(workload).items():
        if workload.shapes()[name][axis] % devices:
            _refuse(label, devices, f"a divisor of {name}'s {workload.shapes()[name][axis]}")
    for what, count in workload.divisors().items():
        if count % devices:
            _refuse(label, devices, f"a divisor of the {count} {what}")


def _check_stages(case: Case, label: str, stages: int, samples: int) -> None:
    """Checks that every stage has a unit and that ``samples`` divide into micro-batches."""
    if case.variant == "interleaved":
        _check_interleaves(case, f"{label} {case.variant}", stages)
    elif len(case.spec.units()) < stages:
        _refuse(label, stages, f"at most {len(case.spec.units())}, a unit for each stage")
    _check_cut(case, f"{label} {case.variant}")
    parts = micro_batches(case.variant, stages)
    if samples % parts:
        of_what = "the global batch" if samples == case.spec.global_batch else "a replica's share,"
        expected = f"{parts} micro-batches to divide {of_what} {samples}"
        _refuse(label, stages, expected, OR_BATCH)


def _check_cut(case: Case, label: str) -> None:
    """Checks that a cut that was asked for gives every stage units and uses all of them."""
    units = len(case.spec.units())
    if case.cut and (len(case.cut) != case.stages or sum(case.cut) != units or min(case.cut) < 1):
        raise UsageError(
            f"cut for {label}", case.shown_cut,
            f"{case.stages} numbers of units, 1 or more each, that add up to {units}",
            "correct --cut, or leave it out to balance FLOPs",
        )


def _check_uncut(case: Case, label: str) -> None:
    """Checks that no stage ends inside a branch, whose layers are sharded together."""
    holders = stages_of_weights(case.spec, case.stages, case.stage_speeds, case.cut)
    for branch in case.spec.branches():
        if len({holders[name] for name in branch_parameters(case.spec, branch)}) > 1:
            layers = f"{branch.columns[0]} and {branch.row}"
            raise UsageError(
                f"stages of {label}", case.stages,
                f"none that ends between {layers}, which devices share",
                "choose another --size, --mesh or number of stages",
            )


def _check_interleaves(case: Case, label: str, devices: int) -> None:
    """Checks that an interleaved pipeline has two devices and a unit for each virtual stage."""
    units = len(case.spec.units())
    if devices < 2:
        _refuse(label, devices, "2 or more: one device has nobody to take turns with")
    if units < case.stages:
        raise UsageError(
            f"units of {label}", units, f"at least {case.stages}, {VIRTUAL_STAGES} stages on each "
            f"of {devices} devices", "choose a larger --size, fewer --devices or --variant 1f1b",
        )


def _check_accumulates(case: Case, label: str) -> None:
    """Micro-batches must be of equal size, so that the mean of their losses is the share's mean."""
    if case.accumulate == 1:
        return
    what = f"accumulate for {label} {case.variant}".rstrip()
    if case.variant == "naive":
        expected = "1: naive has one micro-batch a step"
        raise UsageError(what, case.accumulate, expected, "take --variant gpipe")
    for samples, whose in _shares(case):
        if samples % case.accumulate:
            expected = f"a divisor of the {samples} samples of a {whose}"
            raise UsageError(what, case.accumulate, expected,
                             "choose another --accumulate or --batch")


def _shares(case: Case) -> list[tuple[int, str]]:
    """Returns (samples, whose they are) of every share that accumulation divides further."""
    batch, mesh = case.spec.global_batch, case.axes
    if "inter_layer" in mesh.names:
        parts = micro_batches(case.variant, mesh.size("inter_layer"))
        return [(batch // (mesh.size("data") * parts), "micro-batch")]
    if case.strategy == "data" and case.device_speeds:
        return [(share, "device") for share in proportional_shares(batch, case.device_speeds)]
    return [(batch // mesh.size("data"), "device")]


def _refuse(label: str, devices: int, expected: str, fix: str = OR_MESH) -> None:
    raise UsageError(f"devices for {label}", devices, expected, fix)


def batch_unit(case: Case) -> int:
    """Finds the smallest global batch that the case's strategy can divide.

    Args:
        case: The case to search; its own global batch is known to divide.

    Returns:
        Samples; every global batch of the search is a multiple of it.

    Raises:
        UsageError: The case does not divide for a reason other than its batch.
    """
    for batch in itertools.count(1):
        try:
            check_divides(replace(case, global_batch=batch))
        except UsageError:
            if batch >= case.spec.global_batch:  # not because of the batch
                raise
        else:
            return batch
    raise AssertionError
