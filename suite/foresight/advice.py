"""Which way to choose, why, what would change it, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from suite.contract.formats import rate, seconds, size_bytes
from suite.contract.workloads.workload import Workload
from suite.foresight.collectives import all_reduce_seconds, group_link
from suite.foresight.correction import with_bandwidth
from suite.foresight.fitting import NINETY, Posterior
from suite.foresight.machine import Stack
from suite.foresight.plans import Plan, plans_of
from suite.foresight.predict import predict
from suite.foresight.question import Answer, Wish, asked_plans, strategy_of, way
from suite.foresight.units import Array, Model, Unit

PLAIN = "data"


@dataclass(frozen=True)
class Evidence:
    """A measured step of a way, from a run on this machine.

    Attributes:
        strategy: The way.
        schedule: Schedule of a pipeline; empty otherwise.
        sharded: Whether it is fully sharded.
        step_s: Measured seconds.
        low_s: Lower end of their interval.
        high_s: Upper end.
        run: Which run measured it.
        case: Which case of it.
    """

    strategy: str
    schedule: str
    sharded: bool
    step_s: float
    low_s: float
    high_s: float
    run: str
    case: str


@dataclass(frozen=True)
class Way:
    """A way with what is known of it.

    Attributes:
        plan: The way.
        step_s: Seconds of a step: measured where it was, predicted otherwise.
        low_s: Lower end of the interval.
        high_s: Upper end.
        evidence: The measurement; None if it is predicted.
        reasons: Plain words.
        over: Bytes beyond a device's memory; 0 where it fits.
    """

    plan: Plan
    step_s: float
    low_s: float
    high_s: float
    evidence: Evidence | None
    reasons: tuple[str, ...]
    over: float

    @property
    def measured(self) -> bool:
        """Whether the seconds are from a run."""
        return self.evidence is not None


@dataclass(frozen=True)
class Advice:
    """Ways in order of preference, and what is recommended of them.

    Attributes:
        ways: Those that fit, the recommended one first, then by seconds.
        too_large: Those that do not fit.
        why: Why the first is recommended, in words.
    """

    ways: list[Way]
    too_large: list[Way]
    why: str


def advise(found: Answer, evidence: Sequence[Evidence] = ()) -> Advice:
    """Ranks what was predicted; measured ways count as they were measured.

    A way that is only predicted within the error of plain data parallelism is not recommended over
    it: data parallelism needs no change to a model and errors of a prediction are not advantages.
    """
    ways = [_way(found, place, number, evidence) for place, number in enumerate(found.shown)]
    fitting = sorted((one for one in ways if not one.over), key=lambda one: one.step_s)
    large = [one for one in ways if one.over]
    if not fitting:
        return Advice([], large, "nothing fits: more devices, sharding or recomputation would help")
    plain = next((one for one in fitting if is_plain(one.plan)), None)
    best = fitting[0]
    if plain is None or best is plain:
        return Advice(fitting, large, _because(best, fitting))
    if apart(found, best, plain):
        gain = plain.step_s / best.step_s - 1.0
        return Advice(fitting, large, f"{gain:.0%} faster than plain data parallelism, which is "
                      "more than the error of what is known")
    rest = [one for one in fitting if one is not plain]
    why = (f"{way(best.plan)} would take {seconds(best.step_s)} in place of "
           f"{seconds(plain.step_s)}, which is within the error; plain data parallelism needs no "
           "change to a model")
    return Advice([plain, *rest], large, why)


def is_plain(plan: Plan) -> bool:
    """Whether a plan is data parallelism without sharding."""
    return strategy_of(plan) == PLAIN and not plan.sharding and not plan.recompute


def apart(found: Answer, rival: Way, plain: Way) -> bool:
    """Whether a way is faster than plain data parallelism beyond the error of both.

    Two predictions share their constants, so the error of their ratio is less than that of
    either; two measurements are apart where their intervals are.
    """
    if rival.measured and plain.measured:
        return rival.high_s < plain.low_s
    arrays = plans_of([rival.plan, plain.plan])
    foreseen = predict(found.model, arrays, found.posterior.stack)
    steps, rehearsed = foreseen.step_s, float(foreseen.rehearsed.min())

    def ratio(stack: Stack) -> Array:
        both = predict(found.model, arrays, stack).step_s
        return np.array([both[0] / both[1]])

    reach = NINETY * float(found.posterior.spread(ratio, rehearsed)[0])
    either = rival.measured or plain.measured
    known = rival.step_s / plain.step_s if either else steps[0] / steps[1]
    return bool(np.log(known) + reach < 0.0)


def _way(found: Answer, place: int, number: int, evidence: Sequence[Evidence]) -> Way:
    plan, room = found.plans[number], float(found.posterior.stack.machine.memory_bytes)
    size = float(found.prediction.peak_bytes[number])
    schedule = plan.schedule if plan.stages > 1 else ""
    key = (strategy_of(plan), schedule, plan.sharding == 3)
    seen = [e for e in evidence if (e.strategy, e.schedule, e.sharded) == key]
    best = min(seen, key=lambda e: e.step_s) if seen and not plan.recompute else None
    figures = ((best.step_s, best.low_s, best.high_s) if best else
               (float(found.prediction.step_s[number]), float(found.low_s[place]),
                float(found.high_s[place])))
    over = max(size - room, 0.0) if room and not best else 0.0
    return Way(plan, *figures, evidence=best, reasons=tuple(reasons(found, number)), over=over)


def _because(best: Way, fitting: Sequence[Way]) -> str:
    others = [one for one in fitting if strategy_of(one.plan) != strategy_of(best.plan)]
    if not others:
        return "no other way fits"
    return (f"the next other way, {way(others[0].plan)}, takes "
            f"{others[0].step_s / best.step_s:.2f} times as long")


def reasons(found: Answer, number: int) -> list[str]:
    """What a plan's step is spent on beside computing, in plain words with its figures."""
    plan, one = found.plans[number], found.prediction
    arrays, machine = plans_of([plan]), found.posterior.stack.machine
    software = found.posterior.stack.software
    said = []
    if plan.shards > 1:
        link = group_link(machine, arrays.shards, np.ones(1), arrays.devices)
        body = _typical(found.model)
        payload = plan.micro_batch * float(body.leaving) * float(software.activation_bytes)
        count = 2.0 * plan.micro_batches * sum(
            float(u.sums * u.repeats) for u in found.model) / plan.stages
        took = float(count * all_reduce_seconds(payload, arrays.shards, link)[0])
        said.append(f"sharded layers need {count:.0f} all-reduces of {size_bytes(int(payload))} a "
                    f"step; at {rate(float(np.ravel(link.bytes_s)[0]))}B/s that is "
                    f"{seconds(took)}, exposed")
    if plan.stages > 1:
        said.append(f"{plan.micro_batches:.0f} micro-batches through {plan.stages:.0f} stages idle "
                    f"{one.bubble[number]:.0%} of the time; the busiest stage has "
                    f"{one.load_balance[number]:.2f} times the mean")
    if plan.replicas > 1:
        moved = "parameters and gradients" if plan.sharding == 3 else "gradients"
        said.append(f"{plan.replicas:.0f} replicas exchange {moved}; of "
                    f"{seconds(one.communication_s[number])} of communication a step "
                    f"{seconds(one.exposed_s[number])} is exposed")
    if plan.recompute:
        said.append("blocks are computed forward twice, so that only their inputs are kept")
    return said or ["one device communicates nothing"]


def _typical(model: Model) -> Unit:
    return next(unit for unit in model if unit.place == "body" and float(unit.sums) > 0)


@dataclass(frozen=True)
class CrossoverMap:
    """The fastest strategy over a grid.

    Attributes:
        across: What varies from left to right: ``devices`` or ``link bandwidth``.
        columns: Its values.
        batches: Samples a step, from the bottom up.
        best: Strategy of each cell, (batches, columns); empty where nothing fits or divides.
    """

    across: str
    columns: list[float]
    batches: list[int]
    best: list[list[str]]


def crossover_maps(
    sized: Mapping[int, Workload], wish: Wish, posterior: Posterior, model: Model,
    devices: Sequence[int], factors: Sequence[float],
) -> list[CrossoverMap]:
    """Which strategy is fastest where: over batch and devices, and over batch and link bandwidth.

    Args:
        sized: Batch to the workload with that batch.
        wish: What is asked for; its devices vary in the first map.
        posterior: Constants of the machine.
        model: The model, the same for every batch.
        devices: Columns of the first map.
        factors: Columns of the second: how many times today's bandwidth a link has.

    Returns:
        Both maps.
    """
    first = [[_fastest(workload, replace(wish, devices=count), posterior, model, 1.0)
              for count in devices] for workload in sized.values()]
    second = [[_fastest(workload, wish, posterior, model, factor) for factor in factors]
              for workload in sized.values()]
    batches = list(sized)
    return [CrossoverMap("devices", [float(count) for count in devices], batches, first),
            CrossoverMap("link bandwidth", list(factors), batches, second)]


def _fastest(
    workload: Workload, wish: Wish, posterior: Posterior, model: Model, factor: float
) -> str:
    from suite.contract.errors import UsageError

    try:
        plans = asked_plans(workload, wish)
    except UsageError:
        return ""
    one = predict(model, plans_of(plans), with_bandwidth(posterior.stack, factor))
    room = float(posterior.stack.machine.memory_bytes)
    fits = one.peak_bytes <= room if room else np.ones(len(plans), bool)
    if not fits.any():
        return ""
    return strategy_of(plans[int(np.argmin(np.where(fits, one.step_s, np.inf)))])


def turning_points(maps: Sequence[CrossoverMap], batch: int) -> list[str]:
    """What would change the answer, in words: where the fastest strategy changes along a row."""
    said = []
    for one in maps:
        if batch not in one.batches:
            continue
        row = one.best[one.batches.index(batch)]
        for left, right, value in zip(row, row[1:], one.columns[1:], strict=False):
            if left and right and left != right:
                what = (f"{value:.0f} devices" if one.across == "devices"
                        else f"{value:g} times today's link bandwidth")
                said.append(f"from {what} on, {right} is faster than {left}")
    return said or ["nothing on the map: the same way is fastest for every number of devices and "
                    "bandwidth that was looked at"]
