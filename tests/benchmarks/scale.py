"""What the suite's own work takes by number of cases, and of ranks: ``make scale``; not a test.

    python -m tests.benchmarks.scale [COUNT ...]
    python -m tests.benchmarks.scale --ranks [COUNT ...]

Each stage runs in a process of its own at 10, 100, 1,000 and 10,000 cases, and its processor time
and its peak memory beyond that of its imports are divided by the cases. From 100 cases on neither
should grow. With ``--ranks`` it is ten cases of 10, 100 and 1,000 ranks each, and the divisor is
the ranks of all cases. Stages: *plan* makes the cases and writes run.json; *run* is the harness
around launches that a fake launcher answers at once: proofs, judging, storing, tables and page;
*read* reads the run folder back; *analyse* makes its rows; *render* makes tables and page;
*compare* compares the run with itself; *report* and *compare command* are the whole commands, the
latter on two folders.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from suite.contract.case import Case
from tests.benchmarks.report_at_scale import LAUNCHES, generate, made_cases

COUNTS, RANK_COUNTS = (10, 100, 1_000, 10_000), (10, 100, 1_000)
STAGES = ("plan", "run", "read", "analyse", "render", "compare", "report", "compare command")
# Of the measurement by ranks: cases, and steps of each launch.
CASES, RANK_STEPS = 10, 20
STEPS_A_CASE = 20 * LAUNCHES
FLAT = 1.2
# Of so many on, a share should not grow: before, it is that of what does not depend on them.
CASE, RANK = "case", "rank"
BASES = {CASE: 100, RANK: CASES * 100}
# Of a case at its base: seconds and bytes below which a ratio says nothing.
TOO_LITTLE = 1e-5, 4096.0
Measured = tuple[float, float]  # seconds, bytes beyond the imports'


def main() -> None:
    """Prints a table; with ``--stage`` measures one stage in this process."""
    if sys.argv[1:2] == ["--stage"]:
        _measure_one(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        return
    by_ranks = "--ranks" in sys.argv
    texts = [text for text in sys.argv[1:] if text != "--ranks"]
    counts = [int(text.replace(",", "").replace("_", "")) for text in texts]
    for each in counts or (RANK_COUNTS if by_ranks else COUNTS):
        _measure(each, by_ranks)


FOUND: dict[str, dict[int, Measured]] = {stage: {} for stage in STAGES}


def _measure(each: int, by_ranks: bool) -> None:
    """All stages at one number of cases, or of ranks a case."""
    count = CASES * each if by_ranks else each
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        folder.mkdir()
        made = _made(each, by_ranks)
        (folder / DEVICES).write_text(str(each if by_ranks else 0))
        ranks = sum(case.devices for case in made) * LAUNCHES
        generate(folder, len(made), ranks * RANK_STEPS if by_ranks else each * STEPS_A_CASE, made)
        for stage in STAGES:
            FOUND[stage][count] = _in_a_process(stage, len(made), folder)
            _say(stage, count, f"{each:5,} ranks a case" if by_ranks else f"{each:6,} cases",
                 RANK if by_ranks else CASE)


# The ranks of each case of a folder, or 0 for cases of one and two, for the stages' processes.
DEVICES = "devices"


def _made(each: int, by_ranks: bool) -> list[Case]:
    return made_cases(CASES, each) if by_ranks else made_cases(each)


def _cases_of(count: int, folder: Path) -> list[Case]:
    return made_cases(count, int((folder / DEVICES).read_text()))


def _say(stage: str, count: int, size: str, unit: str) -> None:
    measured = FOUND[stage]
    seconds, used = measured[count]
    text = f"{stage:15} {size}: {seconds:7.2f} s, {used / 2**20:6.1f} MiB"
    text += f"; a {unit} {1e3 * seconds / count:7.3f} ms, {used / 1024 / count:7.1f} KiB"
    base = BASES[unit]
    if base in measured and count > base:
        times, memory = (_growth(measured, base, count, part) for part in (0, 1))
        text += f"; over that at {base:,}: {times:.2f}×, {memory:.2f}×"
        text += "" if max(times, memory) <= FLAT else "  (not flat)"
    print(text, flush=True)


def _growth(measured: dict[int, Measured], base: int, count: int, part: int) -> float:
    """A share at ``count`` over that at ``base``; 1 where there is too little to tell."""
    share = measured[base][part] / base
    return measured[count][part] / count / share if share > TOO_LITTLE[part] else 1.0


def _in_a_process(stage: str, count: int, folder: Path) -> Measured:
    command = [sys.executable, "-m", "tests.benchmarks.scale", "--stage", stage, str(count),
               str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, used = json.loads(done.stdout.splitlines()[-1])
    return seconds, used


def _measure_one(stage: str, count: int, folder: Path) -> None:
    work = {"plan": _plan, "run": _run, "read": _read, "analyse": _analyse, "render": _render,
            "compare": _compare, "report": _report,
            "compare command": _compare_command}[stage](count, folder)
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
        results = [CaseResult(case) for case in _cases_of(count, folder)]
        files.write_json(folder / "planned.json", {"cases": files.case_entries(results)})

    return plan


def _run(count: int, folder: Path) -> Callable[[], object]:
    from suite.measure import runner as running
    from tests.synthetic import Planted, Still

    cases = _cases_of(count, folder)
    own = folder / "run"
    (own / "cases").mkdir(parents=True)
    config = _config()
    runner = running.Runner(config, cases, own, lambda event: None, Planted({}, 0),
                            calibrate=Still())  # type: ignore[arg-type]
    # The cases' frameworks have no adapters: what cannot run here is not what is measured.
    running.admit = lambda *_asked: None  # type: ignore[assignment]

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
    return _command("report", folder)


def _compare_command(count: int, folder: Path) -> Callable[[], object]:
    """Two folders: of one, the command would read the rows once."""
    other = folder.with_name("other")
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("cases", "steps.csv", "run"))
    return _command("compare", folder, other)


def _command(name: str, *folders: Path) -> Callable[[], object]:
    command = [sys.executable, "-m", "suite", name, *map(str, folders)]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
