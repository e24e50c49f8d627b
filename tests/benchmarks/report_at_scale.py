"""Time and peak memory of ``python -m suite report`` on a generated run folder; not a test.

    python -m tests.benchmarks.report_at_scale [CASES] [STEPS] [FOLDER]

10,000 cases of 3 launches and 5 million steps by default; FOLDER keeps what is generated.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from suite.analysis.traced import ProbedLaunch
from suite.config.model import RunConfig
from suite.contract.case import SCHEMA_VERSION, Case
from suite.contract.records import RankRecord
from suite.machine import description
from suite.runfolder import files
from suite.runfolder.samples import SampleStore, StoredLaunch, compact, step_rows

LAUNCHES, PROBED = 3, 1


def main() -> None:
    numbers = [int(text.replace("_", "")) for text in sys.argv[1:] if text[0].isdigit()]
    kept = [Path(text) for text in sys.argv[1:] if not text[0].isdigit()]
    cases, steps = (numbers + [10_000, 5_000_000][len(numbers):])[:2]
    with tempfile.TemporaryDirectory() as name:
        folder = kept[0] if kept else Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        generate(folder, cases, steps)
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        print(f"generated {cases} cases, {steps} steps in {time.perf_counter() - began:.1f} s, "
              f"{size:.0f} MB", flush=True)
        report(folder)


def report(folder: Path) -> None:
    """The command itself, start-up and printing included, in a process of its own."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "suite", "report", str(folder)], check=True,
                   stdout=subprocess.DEVNULL)
    took, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    page = (folder / "report.html").stat().st_size / 1e6
    print(f"report: {took:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of processor time, "
          f"peak {used.ru_maxrss / 1024:.0f} MiB, page {page:.1f} MB")


def generate(folder: Path, cases: int, steps: int, made: list[Case] | None = None) -> None:
    """One framework's column a size; every tenth case is a base."""
    random = np.random.default_rng(0)
    made = made or made_cases(cases)
    entries = [{"case": asdict(case), "oversubscribed": False, "stopped": ""} for case in made]
    block = {"block": 0, "rates": [{"device": "cpu0", "matmul_flops_s": 1e9, "copy_bytes_s": 1e9}],
             "seconds": 1.0, "steal_share": 0.0, "load": 0.0, "frequency_mhz": None, "gpus": []}
    files.write_json(folder / "run.json", {
        "run_id": folder.name, "schema_version": SCHEMA_VERSION, "cases": entries,
        "environment": description.describe(), "configuration": asdict(RunConfig()),
        "plan": [],
        "blocks": [block | {"block": number} for number in range(LAUNCHES)], "state": "complete",
    })
    ranks = sum(case.devices for case in made) * LAUNCHES
    storage = SampleStore(folder)
    # One transaction for all: the generator's own time is not what is measured.
    storage.connection.execute("PRAGMA synchronous = OFF")
    for case in made:
        for number in range(LAUNCHES):
            raw = [_record(random, rank, max(2, steps // ranks)) for rank in range(case.devices)]
            reduced = ProbedLaunch(
                {"t_comm_s": 1e-3, "load_balance": 1.1}, np.ones((5, case.devices))
            )
            outcome = {"status": "ok", "reason": "", "seconds": 1.0, "cores": [0, 1],
                       "parity": {"status": "ok", "error": 0.1, "reason": ""}}
            size = files.append_steps(folder / "steps.csv", step_rows(case.case_id, number, raw))
            storage.append(
                StoredLaunch(case.case_id, number, outcome, compact(raw),
                             reduced if number < PROBED else None), raw, size,
            )
    storage.close()


def made_cases(count: int, devices: int = 0) -> list[Case]:
    """The cases of a run that is generated; their frameworks have no adapters.

    Args:
        count: How many.
        devices: Devices of each, with a sample each; 0 for one of a base and two of others.
    """
    return [_case(number, devices) for number in range(count)]


def _case(number: int, devices: int) -> Case:
    column, place = divmod(number, 10)
    strategy, variant, own = ("data", f"variant{place}", 2) if place else ("single", "", 1)
    if devices:
        strategy, variant = "data", f"variant{place}"
    return Case(f"framework{column}", "torch", strategy, variant, "mlp", "tiny", "synthetic",
                "cpu", devices or own, global_batch=devices)


def _record(random: Any, rank: int, steps: int) -> RankRecord:
    clean = np.exp(random.normal(0, 0.02, steps)) * 1e-2
    return RankRecord(
        rank, step_seconds=clean.tolist(), warmup_seconds=[0.1], losses=[1.0] * 10,
        open_seconds=0.1, peak_memory_bytes=1000, steady=True, affinity=[rank],
        ledger={"threads_per_device": "1", "tf32": "off", "determinism": "off"},
    )


if __name__ == "__main__":
    main()
