"""Exports rows to the JSON of pytest-benchmark 3.2 to 5 and imports them; a launch is a round."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from suite.analysis.launch_figures import step_summary
from suite.contract.errors import UsageError
from suite.contract.metrics import COLUMNS
from suite.contract.row import NAMES, Row
from suite.contract.warnings import flatten
from suite.runfolder import files
from suite.runfolder.validated import checked, read_json

FORMAT_VERSION = "5.3.1"
SUITE = "suite"
SAVE = "save it with pytest --benchmark-json=FILE"
Seconds = Annotated[float, Field(gt=0, lt=1e9, allow_inf_nan=False)]


@dataclass
class Stats:
    """The statistics of a benchmark: the time of every round in seconds, if the file has it."""

    data: list[Seconds] | None = None


@dataclass
class Benchmark:
    """What a comparison needs of one benchmark."""

    name: str
    fullname: str | None = None
    stats: Stats | None = None
    extra_info: dict[str, Any] | None = None


@dataclass
class File:
    """What a comparison needs of a benchmark file; only this suite's own export has ``suite``."""

    benchmarks: list[Benchmark]
    suite: Any = None


def export_rows(path: Path, run: dict[str, Any], rows: list[Row]) -> None:
    """Writes a file that ``pytest-benchmark compare`` reads, with a benchmark for each case that
    ran.

    ``extra_info`` holds the whole row, so that the file can stand for the run in a later
    comparison.

    Args:
        path: The file to write.
        run: The content of ``run.json``.
        rows: One row for each case.
    """
    environment = run.get("environment", {})
    content = {
        "machine_info": {
            "node": "", "machine": "", "system": environment.get("platform", ""),
            "python_version": environment.get("python", ""),
            "cpu": {"brand_raw": environment.get("processor", "")},
        },
        "commit_info": {"id": run["run_id"], "time": None, "dirty": False, "branch": SUITE},
        "benchmarks": [_benchmark(row) for row in rows if row.status == "ok"],
        "datetime": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "version": FORMAT_VERSION,
        SUITE: {"run_id": run["run_id"], "environment": environment},
    }
    files.write_output("--export-pytest-benchmark", path, json.dumps(content, indent=1))


def _benchmark(row: Row) -> dict[str, Any]:
    names = [*COLUMNS, "launch_step_s", "launch_samples"]
    kept = {name: row.value(name) for name in names if row.value(name) is not None}
    kept |= {"warnings": flatten(row.warnings)}
    return {
        "group": f"{row.workload} {row.size}", "name": row.case_id,
        "fullname": f"suite::{row.case_id}", "params": None, "param": None,
        "extra_info": {SUITE: kept},
        "options": {"disable_gc": False, "timer": "perf_counter", "min_rounds": row.repeats,
                    "max_time": 0.0, "min_time": 0.0, "warmup": True},
        "stats": _stats([one for one in row.launch_step_s if one is not None]),
    }


def _stats(data: list[float]) -> dict[str, Any]:
    """Computes the statistics as pytest-benchmark defines them; ``data`` are seconds."""
    low, middle, high = (float(value) for value in np.quantile(data, (0.25, 0.5, 0.75)))
    mean, spread = statistics.fmean(data), statistics.stdev(data) if len(data) > 1 else 0.0
    fences = (low - 1.5 * (high - low), high + 1.5 * (high - low))
    inside = [value for value in data if fences[0] <= value <= fences[1]]
    far = sum(abs(value - mean) > spread for value in data)
    return {
        "min": min(data), "max": max(data), "mean": mean, "stddev": spread, "rounds": len(data),
        "median": middle, "iqr": high - low, "q1": low, "q3": high,
        "iqr_outliers": len(data) - len(inside), "stddev_outliers": far,
        "outliers": f"{far};{len(data) - len(inside)}", "ld15iqr": min(inside),
        "hd15iqr": max(inside), "ops": 1 / mean, "total": sum(data), "data": data,
        "iterations": 1,
    }


def import_rows(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Reads rows from this suite's export, or from anybody's benchmarks that were saved with their
    data.

    The rounds of a foreign benchmark ran in one process and are no independent launches; intervals
    over them come out too narrow.

    Returns:
        What stands for ``run.json``, and a row for each benchmark.

    Raises:
        UsageError: If the file is neither; says what is wrong, and where in the file.
    """
    content = checked(path, "", File, read_json(path, "RUN"), SAVE)
    rows = [_row(path, number, benchmark) for number, benchmark in enumerate(content.benchmarks)]
    twice = [name for name, count in Counter(row.case_id for row in rows).items() if count > 1]
    if twice:
        raise UsageError("RUN", str(path), "each benchmark once, by its full name",
                         f"drop one of each: {', '.join(twice[:5])}")
    own = content.suite if isinstance(content.suite, dict) else {}
    named = own if isinstance(own.get("run_id"), str) else {}
    environment = named.get("environment")
    return {
        "run_id": named.get("run_id", path.stem),
        "environment": environment if isinstance(environment, dict) else {},
    }, rows


def _row(path: Path, number: int, benchmark: Benchmark) -> Row:
    own = (benchmark.extra_info or {}).get(SUITE)
    # A benchmark of somebody else may have a key of that name too.
    if isinstance(own, dict) and "case_id" in own:
        known = {name: value for name, value in own.items() if name in NAMES}
        return checked(path, f"benchmarks.{number}.extra_info.{SUITE}.", Row,
                       known | {"warnings": []}, SAVE)
    return _foreign(path, benchmark)


def _foreign(path: Path, benchmark: Benchmark) -> Row:
    data = benchmark.stats.data if benchmark.stats else None
    if not data:
        fix = "save it with --benchmark-json or --benchmark-save-data"
        raise UsageError(f"{path}: {benchmark.name}", "no data", "every round's time", fix)
    seconds: list[float | None] = [*data]
    row = Row(case_id=benchmark.fullname or benchmark.name, status="ok", repeats=len(data),
              step_time_s=float(np.median(data)), launch_step_s=seconds,
              launch_samples={"step_time_s": seconds})
    row.put(step_summary(np.asarray(data, float)))
    return row
