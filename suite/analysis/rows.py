"""Records of a run to one row a case."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from suite.analysis.communication import communication, load_balance, missing_reason
from suite.analysis.parity import Verdict
from suite.analysis.statistics import bootstrap_median, coefficient_of_variation
from suite.spec.case import Case

Row = dict[str, Any]
FEW_LAUNCHES, NOISY = 3, 0.1


@dataclass
class CaseResult:
    """All launches of a case, one a block: the ranks' records, or None where a block failed."""

    case: Case
    launches: list[list[dict[str, Any]] | None] = field(default_factory=list)
    status: str = "ok"
    reason: str = ""
    parity: Verdict | None = None
    oversubscribed: bool = False


def build_rows(run_id: str, results: list[CaseResult]) -> list[Row]:
    """One row a case that was started or cannot run, in the order given."""
    bases = {_column(r.case): r for r in results if r.case.strategy == "single" and _timed(r)}
    begun = [result for result in results if result.launches or result.status != "ok"]
    return [_row(run_id, result, bases.get(_column(result.case))) for result in begun]


def _column(case: Case) -> tuple[str, ...]:
    return (case.framework, case.engine, case.workload, case.size, case.mode, case.dtype)


def _timed(result: CaseResult) -> bool:
    return result.status == "ok" and any(result.launches)


def step_seconds(records: list[dict[str, Any]]) -> np.ndarray:
    """(steps,) the slowest rank's wall time of each step."""
    return np.max([record["step_seconds"] for record in records], axis=0)


def _row(run_id: str, result: CaseResult, base: CaseResult | None) -> Row:
    case = result.case
    row: Row = {key: value for key, value in asdict(case).items() if key != "seed"}
    row |= {
        "run_id": run_id,
        "case_id": case.case_id,
        "status": result.status,
        "reason": result.reason,
        "global_batch": case.spec.global_batch,
        "repeats": sum(records is not None for records in result.launches),
        "parity": result.parity.status if result.parity else "skipped",
        "parity_error": result.parity.error if result.parity else None,
        "warnings": "",
    }
    if not _timed(result):
        return row
    row |= _times(result) | _speedup(result, base) | _traced(result)
    row["warnings"] = "; ".join(_warnings(result, row))
    return row


def _times(result: CaseResult) -> Row:
    case, good = result.case, [r for r in result.launches if r]
    launches = [step_seconds(records) for records in good]
    medians = [float(np.median(steps)) for steps in launches]
    median, low, high = bootstrap_median(medians)
    total = float(sum(steps.sum() for steps in launches))
    samples = case.spec.global_batch * sum(len(steps) for steps in launches)
    timed = [float(np.median(_timed_seconds(records))) for records in good]
    return {
        "step_time_s": median,
        "step_time_ci_low_s": low,
        "step_time_ci_high_s": high,
        "time_s": float(np.median([steps.sum() for steps in launches])),
        "throughput_samples_s": samples / total,
        "throughput_tokens_s": samples * case.spec.tokens_per_sample / total or None,
        "flops_per_s": case.spec.flops_per_sample() * samples / total,
        "peak_memory_bytes": max(r["peak_memory_bytes"] for records in good for r in records),
        "instrumentation_overhead": float(np.median(timed)) / median - 1.0,
        "noise_cv": coefficient_of_variation(np.concatenate(launches).tolist()),
    }


def _timed_seconds(records: list[dict[str, Any]]) -> np.ndarray:
    return np.max([record["timed_step_seconds"] for record in records], axis=0)


def _speedup(result: CaseResult, base: CaseResult | None) -> Row:
    """Paired by block, against the same framework's and engine's single device."""
    if base is None or result.oversubscribed:
        return {}
    pairs = [
        float(np.median(step_seconds(ours)) ** -1 * np.median(step_seconds(theirs)))
        for ours, theirs in zip(result.launches, base.launches, strict=False)
        if ours and theirs
    ]
    if not pairs:
        return {}
    speedup, low, high = bootstrap_median(pairs)
    return {
        "speedup": speedup,
        "speedup_ci_low": low,
        "speedup_ci_high": high,
        "efficiency": speedup / result.case.devices,
    }


def _traced(result: CaseResult) -> Row:
    good = [records for records in result.launches if records]
    found = [communication(records) | load_balance(records) for records in good]
    names = set.intersection(*(set(item) for item in found))
    return {name: float(np.median([item[name] for item in found])) for name in sorted(names)}


def _warnings(result: CaseResult, row: Row) -> list[str]:
    """code: what to do about it."""
    good = [records for records in result.launches if records]
    found = []
    if len(good) < FEW_LAUNCHES:
        found.append("few launches: no interval to trust, raise --repeats to 3 or more")
    if not all(record["steady"] for records in good for record in records):
        found.append("no steady state: medians of successive windows differ by over 2 %")
    if row["noise_cv"] > NOISY:
        found.append("noisy: steps vary by over 10 %, close other programs")
    if result.oversubscribed:
        found.append("oversubscribed: more devices than cores, no speedup is given")
    if any(r["ledger"].get("shared_pool") == "true" for records in good for r in records):
        found.append("shared-pool: logical devices share one thread pool and one process")
    emulated = {r["ledger"].get("emulated") for records in good for r in records} - {None}
    found += [f"emulated: {text}" for text in sorted(emulated)]
    if row.get("t_comm_s") is not None and row.get("t_comm_wait_s") is None:
        found.append("not measured: waiting and transfer of hops, only their whole interval is")
    missing = missing_reason([record for records in good for record in records])
    return [*found, f"not measured: {missing}"] if missing else found
