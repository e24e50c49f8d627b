"""Records of a run to one row a case."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from suite.analysis.comm_model import model_columns
from suite.analysis.doubts import Conditions, find_warnings
from suite.analysis.launch_figures import launch_samples, probe_samples, step_summary
from suite.analysis.ledger import build_ledger, shown_speeds
from suite.analysis.memory_frontier import FrontierProbe, frontier_columns
from suite.analysis.parity import Verdict
from suite.analysis.statistics import coefficient_of_variation, median_interval
from suite.analysis.traced import Reduced, reduce_launch, slowest_rank, traced_columns
from suite.analysis.verdict import NOT_COMPARABLE, compare_cases
from suite.contract.case import Case
from suite.contract.splits.strategies import MULTI_WORKER
from suite.contract.warnings import warn

Row = dict[str, Any]
Launch = list[dict[str, Any]]


@dataclass
class CaseResult:
    """All launches of a case, one a block: the ranks' records, or None where a block failed.

    ``cores[block]`` are those its processes were asked to run on; ``stopped`` says why no more
    launches are made.
    """

    case: Case
    launches: list[Launch | None] = field(default_factory=list)
    status: str = "ok"
    reason: str = ""
    parity: Verdict | None = None
    oversubscribed: bool = False
    cores: list[list[int]] = field(default_factory=list)
    stopped: str = ""
    reduced: dict[int, Reduced | None] = field(default_factory=dict, repr=False)
    probes: list[FrontierProbe] = field(default_factory=list)

    @property
    def good(self) -> list[Launch]:
        """Launches that finished."""
        return [records for records in self.launches if records]

    @property
    def good_cores(self) -> list[list[int]]:
        """Cores asked for, of each launch that finished."""
        pairs = zip(self.launches, self.cores, strict=False)
        return [cores for records, cores in pairs if records]

    def has(self, block: int) -> bool:
        """Whether the launch of that block finished."""
        return block < len(self.launches) and bool(self.launches[block])

    def put(
        self, block: int, records: Launch | None, cores: list[int], reduced: Reduced | None
    ) -> None:
        """Keeps a launch in the place of its block; blocks that were skipped hold None."""
        missing = block + 1 - len(self.launches)
        self.launches += [None] * missing
        self.cores += [[] for _ in range(missing)]
        self.launches[block], self.cores[block] = records, cores
        self.reduced[block] = reduced


def build_rows(
    run_id: str, results: list[CaseResult], conditions: Conditions | None = None
) -> list[Row]:
    """One row a case that was started or cannot run, in the order given.

    Beside the columns a row carries ``launch_step_s`` (the median step of each block, None where
    it failed), ``launch_samples`` (the same for every metric), what ``step_summary`` gives and,
    where a pass has compute clocks, ``device_compute_s`` (T_i of each device) and
    ``clocked_step_s`` (the step they were read in); its ``warnings`` are objects, its ``ledger`` a
    dict and ``frontier``, where a frontier was looked for, its probes.
    """
    conditions = conditions or Conditions()
    begun = [result for result in results if result.launches or result.status != "ok"]
    rows = [_row(run_id, result) for result in begun]
    bases = {_column(row): row for row in rows if row["strategy"] == "single" and _timed(row)}
    peaks = _measured_peaks(begun, rows, conditions)
    for result, row in zip(begun, rows, strict=True):
        if _timed(row):
            base = bases.get(_column(row))
            row |= _speedup(result, row, base) | _utilisation(result, row, peaks, conditions)
            row |= _modelled(result, row, conditions)
            row["warnings"] = find_warnings(
                result.case, result.good, result.good_cores, row, conditions, result.oversubscribed
            ) + _refused_comparison(row, base)
    return rows


def _column(row: Row) -> tuple[Any, ...]:
    names = ("framework", "engine", "workload", "size", "mode", "dtype", "accumulate")
    return tuple(row[name] for name in names)


def _timed(row: Row) -> bool:
    return row["status"] == "ok" and bool(row["repeats"])


def step_seconds(records: Launch) -> np.ndarray:
    """(steps,) the slowest rank's wall time of each clean step."""
    return slowest_rank(records, "step_seconds")


def _row(run_id: str, result: CaseResult) -> Row:
    case = result.case
    row: Row = {key: value for key, value in vars(case).items() if key != "seed"}
    row |= {
        "run_id": run_id,
        "case_id": case.case_id,
        "status": result.status,
        "reason": result.reason,
        "global_batch": case.spec.global_batch,
        "device_speeds": shown_speeds(case),
        "repeats": len(result.good),
        "parity": result.parity.status if result.parity else "skipped",
        "parity_error": result.parity.error if result.parity else None,
        "warnings": [],
        "stopped": result.stopped,
        "ledger": {},
    }
    if _timed(row):
        row |= _times(result) | _probed(result) | frontier_columns(result.probes)
        row["launch_samples"] |= probe_samples(result.launches, result.reduced)
        row["ledger"] = build_ledger(case, result.good)
    return row


def _times(result: CaseResult) -> Row:
    case = result.case
    launches = [step_seconds(records) for records in result.good]
    blocks = launch_samples(result.launches, launches, case)
    medians = blocks["step_time_s"]
    step = median_interval([median for median in medians if median is not None])
    totals = [total for total in blocks["time_s"] if total is not None]
    total = sum(totals)
    samples = case.spec.global_batch * sum(len(steps) for steps in launches)
    together = np.concatenate(launches)
    rates = _told(result, "matmul_flops_s")
    return {
        "launch_step_s": medians,
        "launch_samples": blocks,
        "step_time_s": step.estimate,
        "step_time_ci_low_s": step.low,
        "step_time_ci_high_s": step.high,
        "time_s": statistics.median(totals),
        "throughput_samples_s": samples / total,
        "throughput_tokens_s": samples * case.spec.tokens_per_sample / total or None,
        "flops_per_s": case.spec.flops_per_sample() * samples / total,
        "peak_memory_bytes": max(r["peak_memory_bytes"] for one in result.good for r in one),
        "matmul_flops_s": statistics.median(rates) if rates else None,
        "device_memory_bytes": max(_told(result, "device_memory_bytes"), default=None),
        "noise_cv": coefficient_of_variation(together),
        "first_step_s": statistics.median(_first_step(records) for records in result.good),
        **step_summary(together),
    }


def _told(result: CaseResult, name: str) -> list[float]:
    """A figure of every rank that has it; records of earlier releases lack it."""
    return [r[name] for records in result.good for r in records if r.get(name)]


def _first_step(records: Launch) -> float:
    return max(record["warmup_seconds"][0] for record in records)


def _probed(result: CaseResult) -> Row:
    """Launches are reduced once: a run's rows are built anew after each launch."""
    for number, records in enumerate(result.launches):
        if records and number not in result.reduced:
            result.reduced[number] = reduce_launch(result.case, records)
    return traced_columns(result.case, [one for one in result.reduced.values() if one])


def _speedup(result: CaseResult, row: Row, base: Row | None) -> Row:
    """Paired by block, against the same framework's and engine's single device."""
    if base is None or result.oversubscribed:
        return {}
    found = compare_cases(row, base)
    named = {"base_case_id": base["case_id"], "base_step_time_s": base["step_time_s"],
             "verdict": "" if row is base else found.verdict}
    if math.isnan(found.ratio):
        return named
    return named | {
        "speedup": found.ratio,
        "speedup_ci_low": found.low,
        "speedup_ci_high": found.high,
        "efficiency": found.ratio / result.case.devices,
    }


def _refused_comparison(row: Row, base: Row | None) -> list[Any]:
    if base is None or row.get("verdict") != NOT_COMPARABLE:
        return []
    reason = compare_cases(row, base).reason
    return [warn("not_comparable", base=base["case_id"], reason=reason)]


def _measured_peaks(
    results: list[CaseResult], rows: list[Row], conditions: Conditions
) -> dict[tuple[str, str], float]:
    """(device kind, dtype) -> the highest matrix-product rate of one device in this run, FLOP/s.

    Of the frameworks that ran, and of the calibration where that measures the format: one peak for
    all rows, which a framework with a slower library reaches less of.
    """
    found: dict[tuple[str, str], list[float]] = {}
    cores = conditions.matmul_rates()
    for result, row in zip(results, rows, strict=True):
        rates = found.setdefault((result.case.device, result.case.dtype), [])
        if cores and result.case.core_rate_applies:
            rates.append(statistics.median(cores))
        if row.get("matmul_flops_s") and not result.oversubscribed:
            rates.append(row["matmul_flops_s"])
    return {key: max(rates) for key, rates in found.items() if rates}


def _utilisation(
    result: CaseResult, row: Row, measured: dict[tuple[str, str], float], conditions: Conditions
) -> Row:
    """MFU over measured matrix products, and over what a GPU's vendor prints."""
    case = result.case
    if result.oversubscribed:
        return {}
    printed = conditions.gpu_peaks if case.device == "cuda" else {}
    peaks = {"mfu": measured.get((case.device, case.dtype)),
             "mfu_datasheet": printed.get(case.dtype)}
    per_device = row["flops_per_s"] / case.devices
    return {name: per_device / peak for name, peak in peaks.items() if peak}


def _modelled(result: CaseResult, row: Row, conditions: Conditions) -> Row:
    """What the run's link sweep says of this row's traced communications."""
    case, reduced = result.case, [one for one in result.reduced.values() if one]
    if not reduced:
        return {}
    if case.variant == MULTI_WORKER:
        return {"comm_verdict": "not modelled: the sweep knows no transport between processes of "
                                f"{case.framework}"} if conditions.fits else {}
    return model_columns(
        case.framework, case.engine, case.devices, reduced[0].payloads,
        row.get("t_comm_transfer_s"), conditions.fits,
    )
