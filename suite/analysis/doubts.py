"""Decides which warnings a row deserves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from suite.analysis.communication import missing_reason
from suite.analysis.link_fit import LinkFit
from suite.analysis.statistics import LEVEL, exact_from
from suite.contract.case import Case
from suite.contract.probing import MATTERS
from suite.contract.records import UNPROBED, Launch
from suite.contract.row import Row
from suite.contract.warnings import Warning, warn

FEW_LAUNCHES = exact_from(LEVEL)
SHARED = {"cpu": "core", "cuda": "GPU"}
# If transfer takes more than this many times as long as on the idle link, plans that use the idle
# link's alpha are wrong.
APART_FROM = 1.25
# How far a launch's transfer may be from what the others predict, where it matters.
UNSTEADY = 0.25
# Cores that other programs may keep busy, idle machines' own housekeeping, before it is said.
NEIGHBOURS = 0.1
NOISY, DRIFT, STEAL, PROBE_OVERHEAD, DISAGREEMENT = 0.1, 0.1, 0.05, 0.1, 0.2


@dataclass(frozen=True)
class Conditions:
    """What a run knows about its machine.

    Attributes:
        blocks: The calibration of each block, as run.json has it.
        precision: The relative half-width that the user asked for; None if not asked.
        fits: The fits of the run's link sweep.
        gpu_peaks: Number format to the FLOP/s that the vendor prints for the machine's GPUs.
    """

    blocks: Sequence[dict[str, Any]] = field(default_factory=list)
    precision: float | None = None
    fits: Sequence[LinkFit] = ()
    gpu_peaks: Mapping[str, float] = field(default_factory=dict)

    def matmul_rates(self) -> list[float]:
        """Returns the matrix-product rates of every core in every block, in FLOP/s."""
        return [rate["matmul_flops_s"] for block in self.blocks for rate in block["rates"]]


def common_peaks(environment: Mapping[str, Any]) -> dict[str, float]:
    """Returns the vendor's peak FLOP/s of a run's GPUs, by number format.

    It is empty if the GPUs are of several models, because nothing tells which of them a rank had.

    Args:
        environment: The environment in run.json.
    """
    models: Sequence[dict[str, Any]] = environment.get("gpu_models", [])
    if len({model["name"] for model in models}) != 1:
        return {}
    return dict(models[0].get("datasheet_flops_s", {}))


def find_warnings(
    case: Case, launches: Sequence[Launch], cores: Sequence[Sequence[int]], row: Row,
    conditions: Conditions, oversubscribed: bool,
) -> list[Warning]:
    """Lists the warnings of a row, the most interesting ones first.

    Args:
        case: The case.
        launches: Records of the launches that finished.
        cores: Cores that each of these launches was asked to run on.
        row: The row, with all its figures.
        conditions: What the run knows about its machine.
        oversubscribed: Whether several devices share a core or a GPU.
    """
    records = [record for launch in launches for record in launch]
    return [
        *_interval(row, conditions.precision),
        *_steps(launches, row),
        *_machine(conditions.blocks[: len(row.launch_step_s)], case),
        *_pinning(case, launches, cores),
        *([warn("oversubscribed", what=SHARED[case.device])] if oversubscribed else []),
        *_nature(records),
        *_probes(records, row),
    ]


def _interval(row: Row, asked: float | None) -> list[Warning]:
    if row.repeats == 1:
        return [warn("one_launch")]
    if row.repeats < FEW_LAUNCHES:
        return [warn("few_launches", launches=row.repeats, needed=FEW_LAUNCHES)]
    widths = [half_width(row, name) for name in ("step_time", "speedup")]
    share = max(width for width in widths if width is not None)
    if asked is None or share <= asked or row.stopped not in ("budget", "repeats"):
        return []
    return [warn("imprecise", share=share, asked=asked)]


def half_width(row: Row, name: str) -> float | None:
    """Returns the relative half-width of an interval of a row; None if there is no interval.

    Args:
        row: The row.
        name: ``step_time`` or ``speedup``.
    """
    unit = "_s" if name == "step_time" else ""
    value = row.value(f"{name}{unit}")
    if value is None:
        return None
    low, high = row.value(f"{name}_ci_low{unit}"), row.value(f"{name}_ci_high{unit}")
    return None if math.isnan(low) else float((high - low) / 2 / value)


def _steps(launches: Sequence[Launch], row: Row) -> list[Warning]:
    unsteady = sum(not all(record.steady for record in launch) for launch in launches)
    warnings = []
    if unsteady:
        warnings.append(warn("no_steady_state", launches=unsteady, total=len(launches)))
    if row.noise_cv is not None and row.noise_cv > NOISY:
        warnings.append(warn("noisy", share=row.noise_cv, limit=NOISY))
    return warnings


def _machine(blocks: Sequence[dict[str, Any]], case: Case) -> list[Warning]:
    """Lists what happened to the machine during the blocks of the row."""
    warnings = []
    share = drift(blocks)
    if share > DRIFT:
        warnings.append(warn("drift", share=share, limit=DRIFT))
    # The block that is still running has no figure yet, and some systems never have one.
    steal = max((block["steal_share"] or 0.0 for block in blocks), default=0.0)
    if steal > STEAL:
        warnings.append(warn("steal", share=steal, limit=STEAL))
    warnings += _neighbours(blocks)
    reasons = {gpu["throttle"] for block in blocks for gpu in _taken(block, case)} - {""}
    if reasons:
        warnings.append(warn("throttled", reasons=", ".join(sorted(reasons))))
    return warnings


def _taken(block: dict[str, Any], case: Case) -> list[dict[str, Any]]:
    """Returns the GPUs of a block on which a case ran: this host's first ones."""
    gpus: list[dict[str, Any]] = block["gpus"]
    return gpus[: case.devices // case.hosts] if case.device == "cuda" else []


def _neighbours(blocks: Sequence[dict[str, Any]]) -> list[Warning]:
    """Of the block that met most of them; early versions did not look."""
    worst = max(blocks, key=lambda block: block.get("others_cores") or 0.0, default={})
    cores = worst.get("others_cores") or 0.0
    if cores <= NEIGHBOURS:
        return []
    named = [f"{one['name']} (process {one['pid']}) {one['cores']:.2f}"
             for one in worst["neighbours"]]
    return [warn("neighbours", cores=cores, who=f": {', '.join(named)}" if named else "")]


def drift(blocks: Sequence[dict[str, Any]]) -> float:
    """Returns the largest change of one core's matrix-product rate: fastest over slowest, minus 1.

    Args:
        blocks: The calibration of each block.
    """
    rates: dict[str, list[float]] = {}
    for block in blocks:
        for rate in block["rates"]:
            rates.setdefault(rate["device"], []).append(rate["matmul_flops_s"])
    return max((max(each) / min(each) - 1.0 for each in rates.values()), default=0.0)


def _pinning(
    case: Case, launches: Sequence[Launch], cores: Sequence[Sequence[int]]
) -> list[Warning]:
    """Compares the affinity that each rank recorded with the cores that were asked for."""
    if case.device != "cpu":
        return []
    # Early releases did not record which cores were asked for.
    for launch, asked in zip(launches, cores, strict=False):
        if not asked:
            continue
        whole = len(launch) == 1
        for index, record in enumerate(launch):
            mine = sorted(asked) if whole else [asked[index % len(asked)]]
            if record.affinity != mine:
                return [warn("not_pinned", found=record.affinity, asked=mine)]
    return []


def _nature(records: Launch) -> list[Warning]:
    warnings = []
    if any(record.ledger.get("shared_pool") == "true" for record in records):
        warnings.append(warn("shared_pool"))
    for name, code in (("gradient_communication", "rounded_gradients"), ("emulated", "emulated"),
                       (UNPROBED, "unprobed"), ("not_forked", "not_forked")):
        texts = {record.ledger[name] for record in records if name in record.ledger}
        warnings += [warn(code, text=text) for text in sorted(texts)]
    return warnings


def _probes(records: Launch, row: Row) -> list[Warning]:
    warnings = []
    missing = missing_reason(records)
    if missing:
        warnings.append(warn("not_measured", what=missing))
    overhead = row.instrumentation_overhead
    if overhead is not None and overhead > PROBE_OVERHEAD:
        warnings.append(warn("probe_overhead", share=overhead, limit=PROBE_OVERHEAD))
    if row.run_over_link is not None and row.run_over_link > APART_FROM:
        warnings.append(warn("run_over_link", factor=row.run_over_link, reason=row.comm_reason))
    error, transfer = row.run_model_error, row.t_comm_transfer_s
    if error is not None and error > UNSTEADY and (transfer or 0) > MATTERS * row.step_seconds:
        warnings.append(warn("unsteady_transfer", share=error, limit=UNSTEADY))
    exposed, saved = row.t_comm_exposed_s, row.t_comm_silent_check_s
    if exposed is None or saved is None:
        return warnings
    if abs(exposed - saved) > DISAGREEMENT * row.step_seconds:
        warnings.append(warn("comm_check", exposed_ms=1e3 * exposed, saved_ms=1e3 * saved))
    return warnings
