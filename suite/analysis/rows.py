"""Turns the records of a run into rows, one for each case."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from suite.analysis.comm_model import model_columns, usable_links
from suite.analysis.doubts import Conditions, find_warnings
from suite.analysis.host_places import links_of_processes, links_scheduled, topology
from suite.analysis.in_run import in_run_columns
from suite.analysis.launch_figures import (
    launch_samples,
    probe_samples,
    reduce_ranks,
    step_summary,
)
from suite.analysis.ledger import build_ledger, shown_speeds
from suite.analysis.memory_frontier import frontier_columns
from suite.analysis.parity import Verdict
from suite.analysis.share_course import last_cut, share_course, shared
from suite.analysis.speedups import add_host_speedups, add_speedup
from suite.analysis.statistics import coefficient_of_variation, median_interval
from suite.analysis.traced import ProbedLaunch, reduce_launch, slowest_rank, traced_columns
from suite.analysis.transports import transport_columns
from suite.analysis.verdict import NOT_COMPARABLE, compare_cases
from suite.contract.case import Case
from suite.contract.metrics import FROM_RANKS
from suite.contract.records import FrontierProbe, Launch
from suite.contract.row import Row
from suite.contract.splits.strategies import MULTI_WORKER
from suite.contract.warnings import Warning, warn

# Columns that are copied from the case's field of the same name. The other fields must not be: the
# memory limit of a launch has the name of a column that means something else.
CASE_COLUMNS = (
    "framework", "engine", "strategy", "variant", "workload", "size", "data", "device", "devices",
    "dtype", "mode", "steps", "mesh", "accumulate", "recompute", "hosts", "padded",
    "transport",
)


@dataclass
class CaseResult:
    """All launches of a case, one for each block of the run, and what became of the case.

    Attributes:
        case: The case.
        launches: The ranks' records of each block's launch; None where it failed or was skipped.
        status: ok, failed, timeout, oom, unsupported or refused.
        reason: Why the status is not ok.
        parity: The worst verdict of a proof; None until there is one.
        oversubscribed: Whether several devices share a core or a GPU.
        cores: Cores that each block's processes were asked to run on.
        stopped: Why no more launches are made; empty while more may follow.
        reduced: Number of a block to what the probes of its launch gave.
        probes: The probes of ``--find-max-batch``.
    """

    case: Case
    launches: list[Launch | None] = field(default_factory=list)
    status: str = "ok"
    reason: str = ""
    parity: Verdict | None = None
    oversubscribed: bool = False
    cores: list[list[int]] = field(default_factory=list)
    stopped: str = ""
    reduced: dict[int, ProbedLaunch | None] = field(default_factory=dict, repr=False)
    probes: list[FrontierProbe] = field(default_factory=list)
    seconds: dict[int, float] = field(default_factory=dict, repr=False)

    @property
    def good(self) -> list[Launch]:
        """Records of the launches that finished."""
        return [records for records in self.launches if records]

    @property
    def good_cores(self) -> list[list[int]]:
        """Cores that each of the launches that finished was asked to run on."""
        pairs = zip(self.launches, self.cores, strict=False)
        return [cores for records, cores in pairs if records]

    def has(self, block: int) -> bool:
        """Returns whether the launch of that block finished."""
        return block < len(self.launches) and bool(self.launches[block])

    def put(
        self, block: int, records: Launch | None, cores: list[int], reduced: ProbedLaunch | None,
        seconds: float | None = None,
    ) -> None:
        """Keeps a launch in the place of its block; blocks that were skipped get None.

        Args:
            block: Number of the block.
            records: The ranks' records; None if the launch failed.
            cores: Cores that its processes were asked to run on.
            reduced: What its probes gave; None without probes.
            seconds: How long the launch took; None if that was not recorded.
        """
        missing = block + 1 - len(self.launches)
        self.launches += [None] * missing
        self.cores += [[] for _ in range(missing)]
        self.launches[block], self.cores[block] = records, cores
        self.reduced[block] = reduced
        if records and seconds:
            self.seconds[block] = seconds


def build_rows(
    run_id: str, results: list[CaseResult], conditions: Conditions | None = None
) -> list[Row]:
    """Makes a row of every case that was started or cannot run, in the order given.

    The figures of a single case come first. Then follow those that need other rows: speedup over
    the base, utilisation of the highest measured rate, the link's prediction, and the warnings.

    Args:
        run_id: Name of the run.
        results: All cases of the run.
        conditions: What the run knows about its machine.
    """
    conditions = conditions or Conditions()
    begun = [result for result in results if result.launches or result.status != "ok"]
    rows = [_row_of(run_id, result) for result in begun]
    bases = {_base_key(row): row for row in rows if row.strategy == "single" and row.timed}
    peaks = _measured_peaks(begun, rows, conditions)
    for result, row in zip(begun, rows, strict=True):
        if row.timed:
            base = bases.get(_base_key(row))
            if not result.oversubscribed:
                add_speedup(row, base)
            _add_utilisation(result, row, peaks, conditions)
            row.put(_modelled(result, row, conditions))
            row.warnings = find_warnings(
                result.case, result.good, result.good_cores, row, conditions, result.oversubscribed
            ) + _refused_comparison(row, base)
    add_host_speedups([row for row in rows if row.speedup is not None])
    return rows


def _base_key(row: Row) -> tuple[Any, ...]:
    """Returns what a row has in common with the single device that its speedup is relative to."""
    return (row.framework, row.engine, row.workload, row.size, row.mode, row.dtype, row.accumulate,
            row.recompute, row.padded)


def step_seconds(records: Launch) -> np.ndarray:
    """Returns the slowest rank's wall time of each clean step in seconds, (steps,)."""
    return slowest_rank(records, "step_seconds")


def _row_of(run_id: str, result: CaseResult) -> Row:
    """Makes a row with what the case is, how it ended, and the figures that need no other row."""
    case = result.case
    row = Row(
        run_id=run_id, case_id=case.case_id, status=result.status, reason=result.reason,
        global_batch=case.spec.global_batch, device_speeds=shown_speeds(case),
        balance=case.balance if case.balances else "", cut=case.shown_cut,
        scaling="" if case.strategy == "single" else case.scaling,
        repeats=len(result.good), stopped=result.stopped,
        parity=result.parity.status if result.parity else "skipped",
        parity_error=result.parity.error if result.parity else None,
        proof=result.parity.proof if result.parity else "",
        **{name: getattr(case, name) for name in CASE_COLUMNS},
    )
    if row.timed:
        _add_times(result, row)
        _add_rank_figures(result, row)
        row.put(_probed(result) | frontier_columns(result.probes))
        row.launch_samples |= probe_samples(result.launches, result.reduced)
        row.ledger = build_ledger(case, result.good)
        row.topology = topology(result.good[-1])
        if case.devices > 1:
            row.put(transport_columns(result.good, case.steps))
        row.share_course = share_course(result.good, shared(case))
        row.cut_found = last_cut(row.share_course)
    return row


def _add_times(result: CaseResult, row: Row) -> None:
    """Adds step time, throughput and what else follows from the clean steps' wall times."""
    case = result.case
    launches = [step_seconds(records) for records in result.good]
    row.launch_samples = launch_samples(result.launches, launches, case)
    row.launch_step_s = row.launch_samples["step_time_s"]
    step = median_interval([median for median in row.launch_step_s if median is not None])
    totals = [total for total in row.launch_samples["time_s"] if total is not None]
    total, samples = sum(totals), case.spec.global_batch * sum(map(len, launches))
    every_step = np.concatenate(launches)
    row.step_time_s, row.step_time_ci_low_s, row.step_time_ci_high_s = step
    row.time_s = statistics.median(totals)
    row.throughput_samples_s = samples / total
    row.throughput_tokens_s = samples * case.spec.tokens_per_sample / total or None
    row.flops_per_s = case.spec.flops_per_sample() * samples / total
    row.noise_cv = coefficient_of_variation(every_step)
    row.launch_s = statistics.median(result.seconds.values()) if result.seconds else None
    row.first_step_s = statistics.median(_first_step(records) for records in result.good)
    row.put(step_summary(every_step))


def _add_rank_figures(result: CaseResult, row: Row) -> None:
    """Adds the columns that ranks report, reduced as their metrics say."""
    for metric in FROM_RANKS:
        if metric.name in row.launch_samples:
            row.put({metric.name: reduce_ranks(metric, result.good)})


def _first_step(records: Launch) -> float:
    return float(max(record.warmup_seconds[0] for record in records))


def _probed(result: CaseResult) -> dict[str, Any]:
    """Returns the columns that probes give.

    Each launch is reduced only once, because the rows of a run are built anew after each launch.
    """
    for number, records in enumerate(result.launches):
        if records and number not in result.reduced:
            result.reduced[number] = reduce_launch(result.case, records)
    return traced_columns(result.case, _probed_launches(result))


def _probed_launches(result: CaseResult) -> list[ProbedLaunch]:
    return [launch for launch in result.reduced.values() if launch]


def _refused_comparison(row: Row, base: Row | None) -> list[Warning]:
    if base is None or row.verdict != NOT_COMPARABLE:
        return []
    reason = compare_cases(row, base).reason
    return [warn("not_comparable", base=base.case_id, reason=reason)]


def _measured_peaks(
    results: list[CaseResult], rows: list[Row], conditions: Conditions
) -> dict[tuple[str, str], float]:
    """Finds the highest matrix-product rate of one device in this run, in FLOP/s.

    It is taken over all frameworks that ran, and over the calibration if that measures the number
    format. All rows have this one peak, so a framework with a slower library reaches less of it.

    Returns:
        (kind of device, number format) to FLOP/s.
    """
    by_kind: dict[tuple[str, str], list[float]] = {}
    cores = conditions.matmul_rates()
    for result, row in zip(results, rows, strict=True):
        rates = by_kind.setdefault((result.case.device, result.case.dtype), [])
        if cores and result.case.core_rate_applies:
            rates.append(statistics.median(cores))
        if row.matmul_flops_s and not result.oversubscribed:
            rates.append(row.matmul_flops_s)
    return {kind: max(rates) for kind, rates in by_kind.items() if rates}


def _add_utilisation(
    result: CaseResult, row: Row, measured: dict[tuple[str, str], float], conditions: Conditions
) -> None:
    """Adds MFU relative to measured matrix products, and to the peak that a GPU's vendor prints."""
    case = result.case
    if result.oversubscribed or row.flops_per_s is None:
        return
    per_device = row.flops_per_s / case.devices
    peak = measured.get((case.device, case.dtype))
    printed = conditions.gpu_peaks.get(case.dtype) if case.device == "cuda" else None
    row.mfu = per_device / peak if peak else None
    row.mfu_datasheet = per_device / printed if printed else None


def _modelled(result: CaseResult, row: Row, conditions: Conditions) -> dict[str, Any]:
    """Returns what the run's link sweep and the run's own fit say of this row's communications."""
    case, probed = result.case, _probed_launches(result)
    if not probed:
        return {}
    transfers = [launch.transfers for launch in probed]
    if case.variant == MULTI_WORKER:
        unknown = ("not modelled: the sweep knows no transport between processes of "
                   f"{case.framework}")
        verdict = {"comm_verdict": unknown} if conditions.fits else {}
        return verdict | in_run_columns(row, transfers, {})
    if case.transport and case.device == "cuda":
        unknown = f"not modelled: the sweep was not made over {case.transport} alone"
        return ({"comm_verdict": unknown} if conditions.fits else {}) | (
            in_run_columns(row, transfers, {}))
    whose = case.framework, case.engine, case.devices
    payloads = probed[0].payloads
    fits = links_scheduled(links_of_processes(case, conditions.fits),
                           row.ledger.get("event_loops", ""))
    links = usable_links(fits, *whose, payloads)
    return model_columns(*whose, payloads, row.t_comm_transfer_s, fits) | (
        in_run_columns(row, transfers, links)
    )
