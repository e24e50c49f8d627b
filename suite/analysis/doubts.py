"""Which warnings a row deserves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from suite.analysis.communication import missing_reason
from suite.analysis.link_fit import LinkFit
from suite.analysis.statistics import LEVEL, exact_from
from suite.contract.case import Case
from suite.contract.records import UNPROBED, Launch
from suite.contract.row import Row
from suite.contract.warnings import Warning, warn

FEW_LAUNCHES = exact_from(LEVEL)
SHARED = {"cpu": "core", "cuda": "GPU"}
# From here on a plan made with the idle link's alpha misses what a step takes.
APART_FROM = 1.25
NOISY, DRIFT, STEAL, PROBE_OVERHEAD, DISAGREEMENT = 0.1, 0.1, 0.05, 0.1, 0.2


@dataclass(frozen=True)
class Conditions:
    """What a run knows of the machine: its ``blocks``, the precision asked for, and its links.

    ``gpu_peaks`` are the datasheet's FLOP/s of its GPUs, by number format.
    """

    blocks: Sequence[dict[str, Any]] = field(default_factory=list)
    precision: float | None = None
    fits: Sequence[LinkFit] = ()
    gpu_peaks: Mapping[str, float] = field(default_factory=dict)

    def matmul_rates(self) -> list[float]:
        """FLOP/s of every core in every block."""
        return [rate["matmul_flops_s"] for block in self.blocks for rate in block["rates"]]


def common_peaks(environment: Mapping[str, Any]) -> dict[str, float]:
    """Of a run's GPUs where all are of one model; which one a rank had is not told."""
    models: Sequence[dict[str, Any]] = environment.get("gpu_models", [])
    if len({model["name"] for model in models}) != 1:
        return {}
    return dict(models[0].get("datasheet_flops_s", {}))


def find_warnings(
    case: Case, launches: Sequence[Launch], cores: Sequence[Sequence[int]], row: Row,
    conditions: Conditions, oversubscribed: bool,
) -> list[Warning]:
    """In the order of a reader's interest; ``launches`` are those that finished."""
    records = [record for launch in launches for record in launch]
    return [
        *_interval(row, conditions.precision),
        *_steps(launches, row),
        *_machine(conditions.blocks[: len(row.launch_step_s)]),
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
    """Relative half-width of a row's interval: ``step_time`` or ``speedup``; None without one."""
    unit = "_s" if name == "step_time" else ""
    value = row.value(f"{name}{unit}")
    if value is None:
        return None
    low, high = row.value(f"{name}_ci_low{unit}"), row.value(f"{name}_ci_high{unit}")
    return None if math.isnan(low) else float((high - low) / 2 / value)


def _steps(launches: Sequence[Launch], row: Row) -> list[Warning]:
    unsteady = sum(not all(record.steady for record in launch) for launch in launches)
    found = []
    if unsteady:
        found.append(warn("no_steady_state", launches=unsteady, total=len(launches)))
    if row.noise_cv is not None and row.noise_cv > NOISY:
        found.append(warn("noisy", share=row.noise_cv, limit=NOISY))
    return found


def _machine(blocks: Sequence[dict[str, Any]]) -> list[Warning]:
    """Over the blocks of the row."""
    found = []
    share = drift(blocks)
    if share > DRIFT:
        found.append(warn("drift", share=share, limit=DRIFT))
    # The block in flight has no figure yet, and some systems tell none.
    steal = max((block["steal_share"] or 0.0 for block in blocks), default=0.0)
    if steal > STEAL:
        found.append(warn("steal", share=steal, limit=STEAL))
    reasons = {gpu["throttle"] for block in blocks for gpu in block["gpus"]} - {""}
    if reasons:
        found.append(warn("throttled", reasons=", ".join(sorted(reasons))))
    return found


def drift(blocks: Sequence[dict[str, Any]]) -> float:
    """Largest change of one core's matrix-product rate: fastest block over slowest, minus one."""
    rates: dict[str, list[float]] = {}
    for block in blocks:
        for rate in block["rates"]:
            rates.setdefault(rate["device"], []).append(rate["matmul_flops_s"])
    return max((max(each) / min(each) - 1.0 for each in rates.values()), default=0.0)


def _pinning(
    case: Case, launches: Sequence[Launch], cores: Sequence[Sequence[int]]
) -> list[Warning]:
    """Affinity in force, as each rank recorded it, against what was asked."""
    if case.device != "cpu":
        return []
    # Early versions did not record what was asked.
    for launch, asked in ((one, each) for one, each in zip(launches, cores, strict=False) if each):
        whole = len(launch) == 1
        for index, record in enumerate(launch):
            mine = sorted(asked) if whole else [asked[index % len(asked)]]
            if record.affinity != mine:
                return [warn("not_pinned", found=record.affinity, asked=mine)]
    return []


def _nature(records: Launch) -> list[Warning]:
    found = []
    if any(record.ledger.get("shared_pool") == "true" for record in records):
        found.append(warn("shared_pool"))
    for name, code in (("gradient_communication", "rounded_gradients"), ("emulated", "emulated"),
                       (UNPROBED, "unprobed")):
        texts = {record.ledger[name] for record in records if name in record.ledger}
        found += [warn(code, text=text) for text in sorted(texts)]
    return found


def _probes(records: Launch, row: Row) -> list[Warning]:
    found = []
    missing = missing_reason(records)
    if missing:
        found.append(warn("not_measured", what=missing))
    overhead = row.instrumentation_overhead
    if overhead is not None and overhead > PROBE_OVERHEAD:
        found.append(warn("probe_overhead", share=overhead, limit=PROBE_OVERHEAD))
    if row.run_over_link is not None and row.run_over_link > APART_FROM:
        found.append(warn("run_over_link", factor=row.run_over_link, reason=row.comm_reason))
    exposed, saved = row.t_comm_exposed_s, row.t_comm_silent_check_s
    if exposed is None or saved is None:
        return found
    if abs(exposed - saved) > DISAGREEMENT * row.step_seconds:
        found.append(warn("comm_check", exposed_ms=1e3 * exposed, saved_ms=1e3 * saved))
    return found
