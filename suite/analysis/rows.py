"""Records of a run to one row a case."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from suite.analysis.comm_model import model_columns, usable_links
from suite.analysis.doubts import Conditions, find_warnings
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
from suite.analysis.statistics import coefficient_of_variation, median_interval
from suite.analysis.traced import Reduced, reduce_launch, slowest_rank, traced_columns
from suite.analysis.verdict import NOT_COMPARABLE, compare_cases
from suite.contract.case import Case
from suite.contract.metrics import FROM_RANKS
from suite.contract.records import FrontierProbe, Launch
from suite.contract.row import Row
from suite.contract.splits.strategies import MULTI_WORKER
from suite.contract.warnings import Warning, warn

# Columns that are the field of the same name of a case. A case has other fields too, and one of
# them, the memory limit of a launch, has the name of a column that is something else.
CASE_COLUMNS = (
    "framework", "engine", "strategy", "variant", "workload", "size", "data", "device", "devices",
    "dtype", "mode", "steps", "mesh", "accumulate",
)


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

    Figures of one case come first, then those that need the other rows: speedup over the base,
    utilisation of the highest measured rate, the link's prediction, and the warnings.
    """
    conditions = conditions or Conditions()
    begun = [result for result in results if result.launches or result.status != "ok"]
    rows = [_row(run_id, result) for result in begun]
    bases = {_base_key(row): row for row in rows if row.strategy == "single" and row.timed}
    peaks = _measured_peaks(begun, rows, conditions)
    for result, row in zip(begun, rows, strict=True):
        if row.timed:
            base = bases.get(_base_key(row))
            _add_speedup(result, row, base)
            _add_utilisation(result, row, peaks, conditions)
            row.put(_modelled(result, row, conditions))
            row.warnings = find_warnings(
                result.case, result.good, result.good_cores, row, conditions, result.oversubscribed
            ) + _refused_comparison(row, base)
    return rows


def _base_key(row: Row) -> tuple[Any, ...]:
    """What a row and the single device that its speedup is over have in common."""
    return (row.framework, row.engine, row.workload, row.size, row.mode, row.dtype, row.accumulate)


def step_seconds(records: Launch) -> np.ndarray:
    """(steps,) the slowest rank's wall time of each clean step."""
    return slowest_rank(records, "step_seconds")


def _row(run_id: str, result: CaseResult) -> Row:
    """What the case is, how it ended, and the figures that need no other row."""
    case = result.case
    row = Row(
        run_id=run_id, case_id=case.case_id, status=result.status, reason=result.reason,
        global_batch=case.spec.global_batch, device_speeds=shown_speeds(case),
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
    return row


def _add_times(result: CaseResult, row: Row) -> None:
    """Step time, throughput and what else follows from the clean steps' wall times."""
    case = result.case
    launches = [step_seconds(records) for records in result.good]
    row.launch_samples = launch_samples(result.launches, launches, case)
    row.launch_step_s = row.launch_samples["step_time_s"]
    step = median_interval([median for median in row.launch_step_s if median is not None])
    totals = [total for total in row.launch_samples["time_s"] if total is not None]
    total, samples = sum(totals), case.spec.global_batch * sum(map(len, launches))
    together = np.concatenate(launches)
    row.step_time_s, row.step_time_ci_low_s, row.step_time_ci_high_s = step
    row.time_s = statistics.median(totals)
    row.throughput_samples_s = samples / total
    row.throughput_tokens_s = samples * case.spec.tokens_per_sample / total or None
    row.flops_per_s = case.spec.flops_per_sample() * samples / total
    row.noise_cv = coefficient_of_variation(together)
    row.first_step_s = statistics.median(_first_step(records) for records in result.good)
    row.put(step_summary(together))


def _add_rank_figures(result: CaseResult, row: Row) -> None:
    """Columns that are figures of the ranks' records, reduced as their metrics say."""
    for metric in FROM_RANKS:
        if metric.name in row.launch_samples:
            row.put({metric.name: reduce_ranks(metric, result.good)})


def _first_step(records: Launch) -> float:
    return float(max(record.warmup_seconds[0] for record in records))


def _probed(result: CaseResult) -> dict[str, Any]:
    """Launches are reduced once: a run's rows are built anew after each launch."""
    for number, records in enumerate(result.launches):
        if records and number not in result.reduced:
            result.reduced[number] = reduce_launch(result.case, records)
    return traced_columns(result.case, [one for one in result.reduced.values() if one])


def _add_speedup(result: CaseResult, row: Row, base: Row | None) -> None:
    """Paired by block, against the same framework's and engine's single device."""
    if base is None or result.oversubscribed:
        return
    found = compare_cases(row, base)
    row.base_case_id, row.base_step_time_s = base.case_id, base.step_time_s
    row.verdict = "" if row is base else found.verdict
    if not math.isnan(found.ratio):
        row.speedup, row.speedup_ci_low, row.speedup_ci_high = found.ratio, found.low, found.high
        row.efficiency = found.ratio / result.case.devices


def _refused_comparison(row: Row, base: Row | None) -> list[Warning]:
    if base is None or row.verdict != NOT_COMPARABLE:
        return []
    reason = compare_cases(row, base).reason
    return [warn("not_comparable", base=base.case_id, reason=reason)]


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
        if row.matmul_flops_s and not result.oversubscribed:
            rates.append(row.matmul_flops_s)
    return {key: max(rates) for key, rates in found.items() if rates}


def _add_utilisation(
    result: CaseResult, row: Row, measured: dict[tuple[str, str], float], conditions: Conditions
) -> None:
    """MFU over measured matrix products, and over what a GPU's vendor prints."""
    case = result.case
    if result.oversubscribed or row.flops_per_s is None:
        return
    per_device = row.flops_per_s / case.devices
    peak = measured.get((case.device, case.dtype))
    printed = conditions.gpu_peaks.get(case.dtype) if case.device == "cuda" else None
    row.mfu = per_device / peak if peak else None
    row.mfu_datasheet = per_device / printed if printed else None


def _modelled(result: CaseResult, row: Row, conditions: Conditions) -> dict[str, Any]:
    """What the run's link sweep says of this row's traced communications."""
    case, reduced = result.case, [one for one in result.reduced.values() if one]
    if not reduced:
        return {}
    transfers = [one.transfers for one in reduced]
    if case.variant == MULTI_WORKER:
        unknown = ("not modelled: the sweep knows no transport between processes of "
                   f"{case.framework}")
        said = {"comm_verdict": unknown} if conditions.fits else {}
        return said | in_run_columns(row, transfers, {})
    whose = case.framework, case.engine, case.devices
    payloads = reduced[0].payloads
    links = usable_links(conditions.fits, *whose, payloads)
    return model_columns(*whose, payloads, row.t_comm_transfer_s, conditions.fits) | (
        in_run_columns(row, transfers, links)
    )
