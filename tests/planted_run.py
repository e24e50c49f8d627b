"""Runs of any size without a launch: planted times, probes, losses, links, and what may go wrong.

    python -m tests.planted_run [PATH]                  writes the page of a realistic run
    python -m tests.planted_run [PATH] --cases 10000    and prints time and memory of a large one
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from suite.analysis.doubts import Conditions
from suite.analysis.link_fit import LinkFit, fit_links
from suite.analysis.parity import Verdict
from suite.analysis.rows import CaseResult, build_rows
from suite.analysis.traced import ProbedLaunch
from suite.contract.case import Case
from suite.contract.files import TableRow
from suite.contract.records import RankRecord
from suite.contract.registry import engines
from suite.contract.row import Row

COLUMNS = [(framework, engine) for framework, offered in engines().items() for engine in offered]
SPLITS = (("data", ""), ("intra_layer", ""), ("inter_layer", "gpipe"))
# Step of one device in seconds, and what a split keeps of a linear speedup.
BASE_S = {"pytorch": 0.298, "tensorflow": 0.341, "horovod/torch": 0.301,
          "horovod/tensorflow": 0.352}
KEPT = {"data": 0.92, "intra_layer": 0.74, "inter_layer": 0.67, "single": 1.0}
FRAMEWORK_KEPT = {"pytorch": 1.0, "tensorflow": 0.8, "horovod/torch": 0.985,
                  "horovod/tensorflow": 0.9}


@dataclass
class PlantedRun:
    """What ``render`` takes, and the results it came from."""

    run: dict[str, Any]
    results: list[CaseResult]
    losses: list[TableRow]
    links: list[TableRow] = field(default_factory=list)
    fits: list[LinkFit] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """As the harness builds them, with the sample of steps that a page draws."""
        conditions = Conditions(self.run["blocks"], 0.03, self.fits)
        rows = build_rows("planted", self.results, conditions)
        by_id = {result.case.case_id: result for result in self.results}
        for row in rows:
            good = by_id[row.case_id].good
            if good and row.status == "ok":
                steps = np.concatenate([np.asarray(one[0].step_seconds) for one in good])
                chosen = np.linspace(0, len(steps) - 1, min(200, len(steps))).round().astype(int)
                row.step_sample_s = row.step_sample_s or steps[chosen].tolist()
        return rows


def small_run(devices: tuple[int, ...] = (2,), seed: int = 0) -> PlantedRun:
    """16 cases a workload and number of devices, of mlp and gpt, with faults planted in some."""
    generator = np.random.default_rng(seed)
    results = [
        _result(case, generator, 6, 20)
        for workload, size in (("gpt", "small"), ("mlp", "wide"))
        for case in _cases(workload, size, devices, "cpu")
    ]
    _plant_faults(results)
    return _complete(results, generator)


def large_run(count: int, launches: int = 5, steps: int = 100, seed: int = 0) -> PlantedRun:
    """``count`` cases with ``launches * steps`` samples each, all ok."""
    generator = np.random.default_rng(seed)
    results = []
    for case in _many(count):
        results.append(_result(case, generator, launches, steps))
    return _complete(results, generator)


def _many(count: int) -> Iterator[Case]:
    sizes = (("mlp", "tiny"), ("mlp", "wide"), ("gpt", "tiny"), ("gpt", "small"), ("gpt", "gpt2"))
    made = 0
    for last in range(2, 100_000):
        for workload, size in sizes:
            for case in _cases(workload, size, (last,), "cuda", with_single=last == 2):
                if made == count:
                    return
                made += 1
                yield case


def _cases(
    workload: str, size: str, devices: tuple[int, ...], device: str, with_single: bool = True
) -> list[Case]:
    found = []
    for framework, engine in COLUMNS:
        common = (workload, size, "real", device)
        if with_single:
            found.append(Case(framework, engine, "single", "", *common, 1))
        found += [Case(framework, engine, strategy, variant, *common, count)
                  for count in devices for strategy, variant in SPLITS]
    return found


def _name(case: Case) -> str:
    return f"horovod/{case.engine}" if case.framework == "horovod" else case.framework


def _step_s(case: Case) -> float:
    scale = 0.24 if case.workload == "mlp" else 1.0
    kept = KEPT[case.strategy] * FRAMEWORK_KEPT[_name(case)] if case.devices > 1 else 1.0
    serial = 1 / kept - 1  # loses more on more devices
    return scale * BASE_S[_name(case)] * (1 / case.devices + serial / 2)


def _result(case: Case, generator: np.random.Generator, launches: int, steps: int) -> CaseResult:
    true = _step_s(case)
    medians = true * np.exp(generator.normal(0, 0.012, launches))
    samples = medians[:, None] * np.exp(np.abs(generator.normal(0, 0.03, (launches, steps))))
    records = [[_record(case, one, generator)] for one in samples.tolist()]
    result = CaseResult(
        case, records, parity=Verdict("ok", float(generator.uniform(0.02, 0.6)), ""),
        cores=[list(range(case.devices))] * launches, stopped="precision",
    )
    probed = min(2, launches)
    result.reduced = dict.fromkeys(range(launches))
    result.reduced |= {number: _reduced(case, true, generator) for number in range(probed)}
    return result


def _record(case: Case, steps: list[float], generator: np.random.Generator) -> RankRecord:
    return RankRecord(
        0, step_seconds=steps, warmup_seconds=[steps[0] * 6],
        peak_memory_bytes=int(generator.integers(4e8, 9e8)), steady=True,
        affinity=list(range(case.devices)),
        ledger={"threads_per_device": "1", "tf32": "off", "determinism": "off",
                   "dtype": case.dtype, "mode": case.mode, "framework_version": case.framework,
                   "onednn": "on" if case.engine == "tensorflow" else "off",
                   "backend": "gloo" if case.framework != "tensorflow" else "in process"},
    )


def _reduced(case: Case, step: float, generator: np.random.Generator) -> ProbedLaunch:
    """A step of compute, exposed communication in two parts, and a rest."""
    timed = step * 1.03
    lost = 1 - 1 / case.devices / (1 / case.devices + 0.5 * (1 / KEPT[case.strategy] - 1) + 1e-9)
    exposed = timed * (0.02 + 0.8 * lost) if case.devices > 1 else 0.0
    skew = np.exp(generator.normal(0, 0.03, (5, case.devices)))
    skew *= np.linspace(1.0, 1.25 if case.strategy == "inter_layer" else 1.02, case.devices)
    busy = (timed * 0.95 - exposed) * skew / skew.mean()
    means = np.median(busy, axis=0)
    columns = {
        "compute_max_s": float(means.max()), "compute_avg_s": float(means.mean()),
        "load_balance": float(means.max() / means.mean()), "load_balance_step": 1.05,
        "clocked_step_s": timed, "instrumentation_overhead": 0.03,
    }
    if case.devices > 1:
        columns |= {
            "t_comm_s": 1.4 * exposed, "t_comm_exposed_s": exposed, "t_comm_wait_s": 0.5 * exposed,
            "t_comm_transfer_s": 0.9 * exposed, "comm_bytes": 3.2e6, "comm_count": 4.0,
            "alpha_s_per_byte": 0.9 * exposed / 12.8e6,
        }
    if case.strategy == "inter_layer":
        columns |= {"bubble": 1 - float(means.mean()) / timed, "bubble_ideal": 0.2}
    kind = "send_recv" if case.strategy == "inter_layer" else "all_reduce"
    payloads = {kind: [3_200_000] * 4} if case.devices > 1 else {}
    return ProbedLaunch(columns, busy, payloads)


def _plant_faults(results: list[CaseResult]) -> None:
    """One of each: unsupported, timeout, refused, other terms, one launch, no compute clock."""
    by_id = {result.case.case_id: result for result in results}
    unsupported = by_id["horovod-tensorflow.inter_layer-gpipe.gpt-small.cpu2"]
    unsupported.launches, unsupported.status = [], "unsupported"
    unsupported.reason = "horovod's tensorflow engine has no pipeline of tied weights here"
    late = by_id["tensorflow.intra_layer.gpt-small.cpu2"]
    late.launches, late.status, late.reason = [None], "timeout", "not finished after 120 s"
    refused = by_id["horovod-torch.intra_layer.mlp-wide.cpu2"]
    refused.status, refused.reason = "refused", "losses differ from the reference by 3.1e-03"
    refused.parity = Verdict("failed", 310.0, refused.reason)
    for result in results:
        if result.case.case_id == "tensorflow.data.gpt-small.cpu2":
            for launch in result.good:
                launch[0].ledger |= {"tf32": "on"}
        if result.case.case_id == "pytorch.inter_layer-gpipe.mlp-wide.cpu2":
            result.reduced = dict.fromkeys(result.reduced)
    by_id["horovod-torch.data.mlp-wide.cpu2"].launches[1:] = []


def _complete(results: list[CaseResult], generator: np.random.Generator) -> PlantedRun:
    blocks = [
        {"block": number, "seconds": 210.0 + number, "steal_share": 0.004, "load": 1.9,
         "frequency_mhz": 2900.0, "gpus": [],
         "rates": [{"device": f"cpu{core}", "matmul_flops_s": 6.2e10 * (1 + 0.01 * number),
                    "copy_bytes_s": 9.1e9} for core in range(2)]}
        for number in range(6)
    ]
    run: dict[str, Any] = {
        "run_id": "20260107-101500", "schema_version": 2, "state": "complete",
        "environment": {"processor": "Example CPU <2 cores> & more", "cores": 2, "gpus": 0,
                        "memory_bytes": 8_000_000_000, "versions": {"torch": "2.13.0"}},
        "configuration": {"seed": 0, "data": "real", "steps": 20, "repeats": 6, "warmup": 50,
                          "dtype": "float32", "mode": "eager", "timeout": 120.0},
        "command_line": ["suite", "run", "--preset", "standard"], "blocks": blocks,
    }
    links = list(_links(generator))
    return PlantedRun(run, results, list(_losses(results, generator)), links, fit_links(links))


def _losses(results: list[CaseResult], generator: np.random.Generator) -> Iterator[TableRow]:
    reference = 5.6 * np.exp(-0.12 * np.arange(10)) + 0.02 * np.sin(np.arange(10))
    for result in results:
        if not result.good:
            continue
        wrong = 3e-3 if result.status == "refused" else 2e-7
        for step, expected in enumerate(reference.tolist()):
            loss = expected * (1 + wrong * float(generator.normal()))
            yield {"case_id": result.case.case_id, "step": step, "loss": loss,
                   "reference_loss": expected}


def _links(generator: np.random.Generator) -> Iterator[TableRow]:
    """a = 90 µs and alpha = 1 ns/B, with a multiple of its own a framework and collective."""
    for framework, engine, factor in (("pytorch", "torch", 1.0), ("horovod", "torch", 1.6),
                                      ("tensorflow", "tensorflow", 0.4)):
        for collective, cost in (("all_reduce", 1.0), ("send_recv", 0.6), ("broadcast", 0.7)):
            for size in (4 * 4**power for power in range(12)):
                for repetition in range(12):
                    true = factor * cost * (9e-5 + 1e-9 * size)
                    yield {
                        "framework": framework, "engine": engine, "collective": collective,
                        "backend": "gloo", "transport": "tcp lo", "devices": 2, "bytes": size,
                        "repetition": repetition, "rank": 0, "start_s": 0.0,
                        "end_s": true * float(np.exp(generator.normal(0, 0.15))),
                    }


def measure_report(count: int, path: Path) -> dict[str, float]:
    """Seconds and bytes of the rows and the page of a large run; peak of this process."""
    from suite.report.html import render

    planted = large_run(count)
    before, began = _peak_bytes(), time.perf_counter()
    rows = planted.rows()
    built = time.perf_counter()
    page = render(planted.run, rows, planted.losses, planted.links, planted.fits)
    path.write_text(page)
    return {
        "rows_s": built - began, "page_s": time.perf_counter() - built,
        "page_bytes": float(len(page.encode())), "peak_before_bytes": before,
        "peak_bytes": _peak_bytes(),
    }


def _peak_bytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=Path("report.html"))
    parser.add_argument("--cases", type=int, help="a large run; prints time and memory")
    parser.add_argument("--devices", type=int, nargs="+", default=[2])
    asked = parser.parse_args()
    if asked.cases:
        for name, figure in measure_report(asked.cases, asked.path).items():
            print(f"{name} {figure:.4g}")
        return
    from suite.report.html import render

    planted = small_run(tuple(asked.devices))
    asked.path.write_text(
        render(planted.run, planted.rows(), planted.losses, planted.links, planted.fits)
    )
    print(asked.path)


if __name__ == "__main__":
    main()
