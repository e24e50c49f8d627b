"""Measures the constants of this machine: a launch for each framework, engine and mode."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from math import prod
from pathlib import Path

from suite.contract.case import Case
from suite.contract.operations import Lengths, OperationPlan
from suite.contract.workloads import Workload
from suite.foresight.measured import Constants, constants_of
from suite.foresight.workloads import model_of_workload
from suite.launch.group import Launcher, LaunchRequest, launch
from suite.machine import devices
from suite.measure.availability import adapter_problem
from suite.measure.links import link_case

WORKER = "suite.ranks.operations"
# Products beside the model's own: from launch-bound to large.
PRODUCTS: dict[str, tuple[Lengths, ...]] = {
    "cpu": ((8, 64, 64), (32, 64, 256), (64, 256, 256), (128, 256, 1024), (256, 1024, 256),
            (512, 512, 512), (512, 1024, 1024)),
    "cuda": ((64, 64, 64), (512, 512, 512), (2048, 512, 2048), (2048, 2048, 2048),
             (8192, 1024, 4096), (8192, 4096, 4096), (8192, 8192, 8192)),
}
MOST_OWN_PRODUCTS = 6
MOST_PRODUCT_FLOPS = {"cpu": 4e9, "cuda": 4e12}
STREAM_ELEMENTS = {"cpu": 8 << 20, "cuda": 128 << 20}
# Attention, and rows and width of a normalisation, where no model has any.
ATTENTION: Lengths = (16, 128, 32)
NORM = (512, 256)
ACTIVATION_ELEMENTS = {"cpu": 1 << 20, "cuda": 64 << 20}
LAYERS = (8, 12)
UPDATES = (1024, 2 << 20)
LINK_BYTES = {"cpu": (1024, 16 << 10, 128 << 10, 1 << 20, 4 << 20),
              "cuda": (1 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20)}
LOAD_S, SECONDS = 0.003, 0.08


def plan_for(workloads: Sequence[Workload], device: str) -> OperationPlan:
    """What to run: general products, the largest different ones of the models, their attention."""
    return OperationPlan(
        (*PRODUCTS[device], *own_products(workloads, device)), STREAM_ELEMENTS[device],
        own_attention(workloads, device), ACTIVATION_ELEMENTS[device], own_norm(workloads), LAYERS,
        updates=UPDATES, link_bytes=LINK_BYTES[device], load_s=LOAD_S, seconds=SECONDS,
    )


def own_products(workloads: Sequence[Workload], device: str) -> list[Lengths]:
    """Products of the models for one sample and for a quarter of their batch."""
    found: dict[Lengths, float] = {}
    for workload in workloads:
        for unit in model_of_workload(workload):
            for one in unit.products:
                for samples in (1, max(1, workload.global_batch // 4)):
                    many = 1 if one.samples_in_count else samples
                    lengths = (round(float(one.rows) * many), round(float(one.inner)),
                               round(float(one.outer)))
                    work = 2.0 * lengths[0] * lengths[1] * lengths[2]
                    if 0 < work <= MOST_PRODUCT_FLOPS[device]:
                        found[lengths] = work
    ranked = sorted(found, key=lambda lengths: -found[lengths])
    step = max(1, len(ranked) // MOST_OWN_PRODUCTS)
    return ranked[::step][:MOST_OWN_PRODUCTS]


def own_attention(workloads: Sequence[Workload], device: str) -> Lengths:
    """The largest attention of the models for half of their batch, which two replicas share."""
    found = [
        (round(float(one.count) * max(1, workload.global_batch // 2)), round(float(one.rows)),
         round(float(one.inner)))
        for workload in workloads for unit in model_of_workload(workload)
        for one in unit.products[1:2] if one.samples_in_count]
    heads, tokens, width = max(found, key=prod, default=ATTENTION)
    most = MOST_PRODUCT_FLOPS[device] / (4.0 * tokens * tokens * width)
    return max(1, min(heads, int(most))), tokens, width


def own_norm(workloads: Sequence[Workload]) -> tuple[int, int]:
    """Rows and width of the widest normalisation of the models, for half of their batch."""
    found = [
        (round(float(one.rows)) * max(1, workload.global_batch // 2), round(float(one.inner)))
        for workload in workloads for unit in model_of_workload(workload) if unit.normed
        for one in unit.products[:1]]
    return max(found, key=prod, default=NORM)


def cases_to_calibrate(
    engines: Mapping[str, Sequence[str]], frameworks: Sequence[str], modes: Sequence[str],
    device: str, count: int,
) -> list[Case]:
    """A case for each framework, engine and mode; it trains nothing."""
    return [replace(link_case(name, engine, device, count), mode=mode)
            for name in frameworks for engine in engines[name] for mode in modes]


def measure_constants(
    cases: Sequence[Case], plan: OperationPlan, folder: Path, python: Mapping[str, str],
    show: Callable[[str, int, int], None], launcher: Launcher = launch,
) -> tuple[list[Constants], dict[str, str]]:
    """Every case in turn.

    Args:
        cases: Of ``cases_to_calibrate``.
        plan: What every rank runs.
        folder: Where the launches are kept.
        python: Interpreters of frameworks with an environment of their own.
        show: Told which case is next, its number and how many there are.
        launcher: Starts a launch; tests replace it.

    Returns:
        The constants, and case to reason where they could not be measured.
    """
    found, missing = [], {}
    for number, case in enumerate(cases):
        name = f"{case.framework}.{case.engine}.{case.mode}"
        show(name, number, len(cases))
        reason = adapter_problem(case, python)
        if not reason:
            mine = folder / name
            mine.mkdir(parents=True, exist_ok=True)
            case.write(mine / "case.json")
            plan.write(mine / "plan.json")
            outcome = launcher(LaunchRequest(
                case, mine / "case.json", mine / "plan.json", mine / "launch-0",
                devices.allowed_cores()[: case.devices], timeout_seconds=120.0,
                python=python.get(case.framework, sys.executable), worker=WORKER,
            ))
            reason = "" if outcome.status == "ok" else f"{outcome.status}: {outcome.reason}"
        if reason:
            missing[name] = reason
        else:
            found.append(constants_of(outcome.records, _whose(case), _now()))
    return found, missing


def _whose(case: Case) -> dict[str, object]:
    return {"framework": case.framework, "engine": case.engine, "mode": case.mode,
            "device": case.device, "devices": case.devices}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
