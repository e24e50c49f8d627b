"""What the suite's own work takes by number of cases: ``make scale``; not a test.

    python -m tests.benchmarks.scale [COUNT ...]

Each stage runs in a process of its own at 10, 100, 1,000 and 10,000 cases, and its processor time
and its peak memory beyond that of its imports are divided by the cases. From 100 cases on neither
should grow. Stages: *plan* makes the cases and writes run.json; *run* is the harness around
launches that a fake launcher answers at once: proofs, judging, storing, tables and page; *read*
reads the run folder back; *analyse* makes its rows; *render* makes tables and page; *compare*
compares the run with itself; *report* is the whole command.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.report_at_scale import LAUNCHES, generate, made_cases

COUNTS = (10, 100, 1_000, 10_000)
STAGES = ("plan", "run", "read", "analyse", "render", "compare", "report")
STEPS_A_CASE = 20 * LAUNCHES
FLAT = 1.2
# Of a case at 100: seconds and bytes below which a ratio says nothing.
TOO_LITTLE = 1e-5, 4096.0
Measured = tuple[float, float]  # seconds, bytes beyond the imports'


def main() -> None:
    """Prints a table; with ``--stage`` measures one stage in this process."""
    if sys.argv[1:2] == ["--stage"]:
        _measure_one(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        return
    counts = [int(text.replace(",", "").replace("_", "")) for text in sys.argv[1:]] or COUNTS
    found: dict[str, dict[int, Measured]] = {stage: {} for stage in STAGES}
    with tempfile.TemporaryDirectory() as name:
        for count in counts:
            folder = Path(name) / str(count)
            folder.mkdir()
            generate(folder, count, count * STEPS_A_CASE)
            for stage in STAGES:
                found[stage][count] = _in_a_process(stage, count, folder)
                _say(stage, count, found[stage])


def _say(stage: str, count: int, measured: dict[int, Measured]) -> None:
    seconds, used = measured[count]
    text = f"{stage:8} {count:6,} cases: {seconds:7.2f} s, {used / 2**20:6.1f} MiB"
    text += f"; a case {1e3 * seconds / count:7.3f} ms, {used / 1024 / count:7.1f} KiB"
    if 100 in measured and count > 100:
        times, memory = (_growth(measured, count, part) for part in (0, 1))
        text += f"; over that at 100: {times:.2f}×, {memory:.2f}×"
        text += "" if max(times, memory) <= FLAT else "  (not flat)"
    print(text, flush=True)


def _growth(measured: dict[int, Measured], count: int, part: int) -> float:
    """A case's share at ``count`` over that at 100; 1 where there is too little to tell."""
    base = measured[100][part] / 100
    return measured[count][part] / count / base if base > TOO_LITTLE[part] else 1.0


def _in_a_process(stage: str, count: int, folder: Path) -> Measured:
    command = [sys.executable, "-m", "tests.benchmarks.scale", "--stage", stage, str(count),
               str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, used = json.loads(done.stdout.splitlines()[-1])
    return seconds, used


def _measure_one(stage: str, count: int, folder: Path) -> None:
    work = {"plan": _plan, "run": _run, "read": _read, "analyse": _analyse, "render": _render,
            "compare": _compare, "report": _report}[stage](count, folder)
    before, began = _peak_bytes(), _processor_seconds()
    work()
    print(json.dumps([_processor_seconds() - began, max(0.0, _peak_bytes() - before)]))


def _processor_seconds() -> float:
    """Of this process and its children: what other programs do meanwhile does not count."""
    used = [resource.getrusage(one) for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak_bytes() -> float:
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss for one in whose) * 1024.0


# Each makes ready what its stage needs and returns the work that is measured.

def _plan(count: int, folder: Path) -> Callable[[], object]:
    from suite.analysis.rows import CaseResult
    from suite.runfolder import files

    def plan() -> None:
        results = [CaseResult(case) for case in made_cases(count)]
        files.write_json(folder / "planned.json", {"cases": files.case_entries(results)})

    return plan


def _run(count: int, folder: Path) -> Callable[[], object]:
    from suite.measure.runner import Runner
    from tests.synthetic import Planted, Still

    cases = made_cases(count)
    own = folder / "run"
    (own / "cases").mkdir(parents=True)
    config = _config()
    runner = Runner(config, cases, own, lambda event: None, Planted({}, 0),
                    calibrate=Still())  # type: ignore[arg-type]
    # The cases' frameworks have no adapters: what cannot run here is not what is measured.
    runner._mark_unsupported = lambda: None  # type: ignore[method-assign]

    def run() -> None:
        runner.execute()
        rows = runner.finish("complete")
        assert all(row.status == "ok" for row in rows), rows[0].reason

    return run


def _config() -> Any:
    from suite.config.model import RunConfig

    return RunConfig(repeats=1, steps=20, link=False)


def _read(count: int, folder: Path) -> Callable[[], object]:
    from suite.runfolder.reading import read_run

    return lambda: read_run(folder)


def _analyse(count: int, folder: Path) -> Callable[[], object]:
    from suite.runfolder.reading import read_run

    return read_run(folder).rows


def _render(count: int, folder: Path) -> Callable[[], object]:
    import suite.report.html  # noqa: F401 - imported before anything is measured
    from suite.runfolder import files
    from suite.runfolder.reading import read_run

    stored = read_run(folder)
    rows = stored.rows()
    return lambda: files.write_report(folder, stored.run, rows, stored.losses)


def _compare(count: int, folder: Path) -> Callable[[], object]:
    from suite.analysis.comparison import compare_runs
    from suite.runfolder.reading import read_run

    stored = read_run(folder)
    one = stored.run, stored.rows()
    return lambda: compare_runs(one, one, ["step_time"])


def _report(count: int, folder: Path) -> Callable[[], object]:
    command = [sys.executable, "-m", "suite", "report", str(folder)]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
