"""A question about splitting a model, as the plans that could answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from suite.contract.errors import UsageError
from suite.contract.splits.strategies import COMBINED, STRATEGIES
from suite.contract.workloads.workload import Workload
from suite.foresight.enumerate import SCHEDULES, ways
from suite.foresight.fitting import Base, Posterior, from_datasheet
from suite.foresight.hardware import find_device
from suite.foresight.machine import FLOAT32, Software
from suite.foresight.plans import FULL, NO_RECOMPUTE, Plan, plans_of
from suite.foresight.predict import predict
from suite.foresight.step import Prediction
from suite.foresight.units import Array, Model
from suite.foresight.workloads import model_of_workload

RECOMPUTE = {"none": NO_RECOMPUTE, "full": FULL}
SHARDING = {"none": 0.0, "states": 1.0, "all": 3.0}
SHARDED = {1.0: "states sharded", 2.0: "gradients sharded", 3.0: "fully sharded"}
AXES = (("data", "replicas"), ("intra_layer", "shards"), ("inter_layer", "stages"))
# A device of which nobody measured anything: modern frameworks overlap the gradients' reduction.
MIXED = Software(overlaps_gradients=1.0)


@dataclass(frozen=True)
class Answer:
    """Plans with their predictions; arrays (configurations,).

    Attributes:
        model: What is trained.
        plans: The ways to train it.
        prediction: What a step of each takes.
        shown: Numbers of the plans that have an interval: the best of each kind, fastest first.
        low_s: Lower ends of the 90 % intervals of their steps, (shown,).
        high_s: Upper ends.
        posterior: Constants of the machine and how sure they are.
    """

    model: Model
    plans: list[Plan]
    prediction: Prediction
    shown: list[int]
    low_s: Array
    high_s: Array
    posterior: Posterior

    def fits(self, number: int) -> bool:
        """Whether a plan's memory fits into a device, where that is known."""
        room = float(self.posterior.stack.machine.memory_bytes)
        return not room or float(self.prediction.peak_bytes[number]) <= room


def strategy_of(plan: Plan) -> str:
    """Name of a plan's strategy, as on the command line: ``data+intra_layer``."""
    used = [name for name, field in AXES if getattr(plan, field) > 1]
    return "+".join(used) or "single"


def way(plan: Plan) -> str:
    """A plan in words: ``data+inter_layer, 1f1b, 8 micro-batches, recompute``."""
    parts = [strategy_of(plan)]
    if plan.stages > 1:
        parts.append(plan.schedule)
    if plan.micro_batches > 1:
        parts.append(f"{plan.micro_batches:.0f} micro-batches")
    parts += [SHARDED[plan.sharding]] if plan.sharding else []
    parts += ["recompute"] if plan.recompute else []
    parts += [f"stages of {plan.cut.replace(',', ' and ')} units"] if plan.cut else []
    return ", ".join(parts)


def named_device(machine: str, dtype: str, node_devices: int, interconnect: float | None
                 ) -> Posterior:
    """What a datasheet says of a device, and how little that is.

    Raises:
        UsageError: The device is unknown, or its table says too little to predict from.
    """
    device = find_device(machine)
    if interconnect:
        device = replace(device, between_bytes_s=interconnect)
    chosen = ("bf16" if "bf16" in device.peak_flops_s else "fp16") if dtype == "auto" else dtype
    if not device.memory_bytes_s or not device.peak_flops_s:
        raise UsageError("--machine", device.name, "a device whose peak and memory rate are known",
                         "fill in its row of suite/foresight/data/hardware.csv, with a source")
    if not device.inside_bytes_s:
        raise UsageError("--machine", device.name, "a device whose link to its neighbours is known",
                         "fill in its row of suite/foresight/data/hardware.csv, with a source")
    software = FLOAT32 if chosen in ("float32", "tf32") else MIXED
    return from_datasheet(Base(device, chosen, node_devices, software))


@dataclass(frozen=True)
class Wish:
    """Which plans are asked for; empty lists ask for all.

    Attributes:
        devices: Devices to use.
        strategies: Names such as ``data+intra_layer``.
        schedules: Schedules of pipelines.
        micro_batches: Passes a step of one replica; None for every number.
        recomputes: Names of ``RECOMPUTE``.
        shardings: Names of ``SHARDING``.
    """

    devices: int
    strategies: Sequence[str] = ()
    schedules: Sequence[str] = SCHEDULES
    micro_batches: int | None = None
    recomputes: Sequence[str] = ("none",)
    shardings: Sequence[str] = ("none", "all")

    def wants(self, plan: Plan) -> bool:
        """Whether a plan was asked for."""
        named = not self.strategies or strategy_of(plan) in self.strategies
        scheduled = plan.stages == 1 or plan.schedule in self.schedules
        return named and scheduled and self.micro_batches in (None, int(plan.micro_batches))


def asked_plans(workload: Workload, wish: Wish) -> list[Plan]:
    """Every plan that was asked for.

    Raises:
        UsageError: A strategy is unknown, or no plan is possible.
    """
    known = [*STRATEGIES, *COMBINED]
    for name in wish.strategies:
        if name not in known:
            raise UsageError("--strategy", name, f"one of {', '.join(known)}", "pick one of these")
    batch = workload.global_batch
    found = ways(
        wish.devices, batch, len(workload.units()), workload.divisors().values(),
        [RECOMPUTE[name] for name in wish.recomputes], [SHARDING[name] for name in wish.shardings],
    )
    kept = [plan for plan in found if wish.wants(plan)]
    if not kept:
        raise UsageError(
            "what to predict", f"{wish.devices} devices, {batch} samples a step",
            "at least one plan",
            "choose a batch and devices that divide, or leave out --strategy and --micro-batches")
    return kept


def answer(workload: Workload, plans: list[Plan], posterior: Posterior) -> Answer:
    """Predicts all plans, and for the best of each kind the interval of its step time."""
    model, arrays = model_of_workload(workload), plans_of(plans)
    prediction = predict(model, arrays, posterior.stack)
    shown = _best_of_each_kind(plans, prediction, float(posterior.stack.machine.memory_bytes))
    some = plans_of(plans[number] for number in shown)
    low, high = posterior.interval(lambda stack: predict(model, some, stack).step_s,
                                   prediction.rehearsed[shown])
    return Answer(model, plans, prediction, shown, low_s=low, high_s=high, posterior=posterior)


def kind_of(plan: Plan) -> tuple[str, str, float, float]:
    """What plans are compared by: strategy, schedule, sharding and recomputation."""
    schedule = plan.schedule if plan.stages > 1 else ""
    return strategy_of(plan), schedule, plan.sharding, plan.recompute


def _best_of_each_kind(plans: list[Plan], prediction: Prediction, room: float) -> list[int]:
    """Of each kind the fastest plan that fits, or the smallest if none does."""
    best: dict[tuple[str, str, float, float], tuple[tuple[bool, float], int]] = {}
    for number, plan in enumerate(plans):
        size, step = float(prediction.peak_bytes[number]), float(prediction.step_s[number])
        fits = not room or size <= room
        rank = (not fits, step if fits else size)
        if kind_of(plan) not in best or rank < best[kind_of(plan)][0]:
            best[kind_of(plan)] = rank, number
    return [number for _, number in sorted(best.values())]
