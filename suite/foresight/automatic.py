"""Which of all ways are worth running: cuts by predicted time, memory, and rank by prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from suite.contract.candidates import Candidate, Fate, is_alone, is_plain, question
from suite.contract.case import NO_RECOMPUTE as NO_RECOMPUTES
from suite.contract.case import Case
from suite.contract.formats import size_bytes, times
from suite.contract.splits.stages import balanced_cuts
from suite.contract.splits.strategies import MULTI_WORKER, TUNED, VIRTUAL_STAGES
from suite.foresight.correction import NOT
from suite.foresight.fitting import Posterior
from suite.foresight.plans import FULL, NO_RECOMPUTE, Plan, plans_of
from suite.foresight.predict import predict
from suite.foresight.question import way
from suite.foresight.step import all_passes
from suite.foresight.units import Model
from suite.foresight.workloads import model_of_workload

SHARDING = {"zero1": 1.0, "zero2": 2.0, "fsdp": 3.0}


def plan_of(case: Case) -> Plan:
    """How a case splits its work, as a plan."""
    axes, pipeline = case.axes, "inter_layer" in case.axes.names
    replicas = axes.size("data")
    parts = case.micro_batches if pipeline else case.accumulate
    return Plan(
        axes.size("intra_layer"), axes.size("inter_layer"), replicas,
        micro_batch=case.spec.global_batch / replicas / parts, micro_batches=parts,
        schedule=case.variant if pipeline else "1f1b",
        chunks=VIRTUAL_STAGES if case.variant == "interleaved" else 1,
        recompute=FULL if case.recomputes else NO_RECOMPUTE,
        sharding=SHARDING.get(case.variant, 0.0), cut=case.shown_cut,
    )


def cut_by_time(case: Case, posterior: Posterior) -> Case | None:
    """The same pipeline with stages of equal predicted time rather than of equal FLOPs.

    Units differ in what they stream and start beside their products, and the ends of a model
    compute too: dynamic programming over the seconds of a micro-batch in each unit gives the cut
    whose slowest stage takes least.

    Args:
        case: A case whose pipeline gives each device one stage.
        posterior: Constants of its framework on this machine.

    Returns:
        The case with its cut; None where it has no such pipeline, a cut already, or the same cut.
    """
    stages = case.axes.size("inter_layer")
    if stages == 1 or case.stages != stages or case.cut or case.device_speeds:
        return None
    model = model_of_workload(case.spec)
    found = tuple(balanced_cuts(unit_seconds(model, plan_of(case), posterior), stages))
    balanced = tuple(balanced_cuts(list(case.spec.unit_flops().values()), stages))
    return None if found == balanced else replace(case, cut=found)


def unit_seconds(model: Model, plan: Plan, posterior: Posterior) -> list[float]:
    """Predicted seconds of both passes of a micro-batch in each unit between which cuts may fall.

    What rides with an end of the model counts with the unit beside it.
    """
    passes = all_passes(model, plans_of([plan]), posterior.stack)
    taken = [float(one.forward_s[0] + one.backward_s[0]) for one in passes]
    body = [each for each, unit in zip(taken, model, strict=True) if unit.place == "body"]
    for each, unit in zip(taken, model, strict=True):
        if unit.place != "body":
            body[0 if unit.place == "first" else -1] += each
    return body


@dataclass(frozen=True)
class Foreseen:
    """A case with what is predicted of it; figures are None without a prediction."""

    case: Case
    predicted_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    peak_bytes: float | None = None
    over_bytes: float = 0.0

    def candidate(self, devices: int, fate: Fate, reason: str) -> Candidate:
        """The same for a reader."""
        return Candidate(
            question(self.case, devices), self.case.case_id,
            ", ".join(filter(None, (way(plan_of(self.case)), self.case.transport))),
            fate, reason, self.predicted_s, low_s=self.low_s, high_s=self.high_s,
            peak_bytes=self.peak_bytes,
        )


def foresee(cases: Sequence[Case], posterior: Posterior | None) -> list[Foreseen]:
    """Predicts the cases of one model; all have the same workload and batch."""
    if posterior is None or not cases:
        return [Foreseen(case) for case in cases]
    model, plans = model_of_workload(cases[0].spec), plans_of(map(plan_of, cases))
    one = predict(model, plans, posterior.stack)
    # A plan does not know these variants, so a rehearsal of the plain one says less of them.
    alike = np.array([case.variant not in (MULTI_WORKER, *TUNED) for case in cases])
    low, high = posterior.interval(lambda stack: predict(model, plans, stack).step_s,
                                   np.where(alike, one.rehearsed, NOT))
    room = float(posterior.stack.machine.memory_bytes)
    over = np.maximum(one.peak_bytes - room, 0.0) if room else np.zeros(len(cases))
    figures = np.stack([one.step_s, low, high, one.peak_bytes, over], axis=1).tolist()
    return [Foreseen(case, *row) for case, row in zip(cases, figures, strict=True)]


def finalists(ways: Sequence[Foreseen], devices: int, most: int) -> list[Candidate]:
    """Decides which ways run: the best by prediction, plain data parallelism and one device.

    A prediction errs most where it compares strategies, so the best of each strategy comes first,
    then the best of each variant, then whatever is predicted next. Of one strategy, a way whose
    interval lies above that of its best is not run at all. What recomputes is not run where it
    would fit without. Lacking predictions, nothing else is left out.

    Args:
        ways: The ways of one question that can run and fit.
        devices: Number of devices of the split ways.
        most: How many are run besides plain data parallelism and one device.

    Returns:
        What becomes of each, those that run first.
    """
    fixed = [one for one in ways if is_plain(one.case) or is_alone(one.case)]
    rest = [one for one in ways if one not in fixed]
    kept = [one.candidate(devices, "run", _fixed_reason(one)) for one in fixed]
    cases = {one.case for one in ways}
    needless = [one for one in rest if replace(one.case, recompute=NO_RECOMPUTES) in cases - {
        one.case}]
    rest = [one for one in rest if one not in needless]
    left = [one.candidate(devices, "slower", "it fits without recomputing, which computes less")
            for one in needless]
    if any(one.predicted_s is None for one in ways):
        return [*kept, *(one.candidate(devices, "run", "nothing is known of it, so it is measured")
                         for one in rest), *left]
    fastest = min(map(_step, ways), default=0.0)
    best: dict[str, Foreseen] = {}
    for one in sorted(ways, key=_step):
        best.setdefault(one.case.strategy, one)
    for one in _in_turn(rest):
        slower = (one.low_s or 0.0) > (best[one.case.strategy].high_s or 0.0)
        runs = not slower and sum(each.fate == "run" for each in kept) - len(fixed) < most
        kept.append(one.candidate(devices, "run" if runs else "slower",
                                  "may be the fastest" if runs else _slower(one, fastest)))
    return kept + left


def _step(one: Foreseen) -> float:
    return one.predicted_s or 0.0


def _in_turn(ways: Sequence[Foreseen]) -> list[Foreseen]:
    """The best of each strategy, then of each variant, then the rest; each by predicted time."""
    # One device is run as it is; that it accumulates or recomputes is no other strategy.
    strategies, variants = {"single"}, {("single", "", False)}
    ranked: list[tuple[int, Foreseen]] = []
    for one in sorted(ways, key=_step):
        case = one.case
        kind = (case.strategy, case.variant, bool(case.cut))
        turn = 0 if case.strategy not in strategies else 1 if kind not in variants else 2
        strategies.add(case.strategy)
        variants.add(kind)
        ranked.append((turn, one))
    return [one for _, one in sorted(ranked, key=lambda pair: pair[0])]


def _fixed_reason(one: Foreseen) -> str:
    return ("always run: what a split has to beat" if is_plain(one.case)
            else "always run: the base of every speedup")


def _slower(one: Foreseen, fastest: float) -> str:
    return f"predicted to take {times(_step(one) / fastest)} the shortest step; others came first"


def too_large(one: Foreseen) -> str:
    """Why a way does not fit into memory, in words; empty if it does."""
    if not one.over_bytes or one.peak_bytes is None:
        return ""
    return (f"needs {size_bytes(int(one.peak_bytes))} of a device by prediction, "
            f"{size_bytes(int(one.over_bytes))} more than there is")
