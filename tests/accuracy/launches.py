"""Real launches: the same case entered twice, and one that is truly 5 % slower."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from suite.analysis.rows import step_seconds
from suite.analysis.statistics import ratio_interval
from suite.analysis.verdict import Comparison, compare_cases
from suite.config.resolution import resolve
from suite.contract.case import Case
from suite.contract.records import read_records
from suite.launch.group import LaunchRequest, Outcome, launch
from suite.measure.runner import Runner
from tests.accuracy.simulation import excludes_one
from tests.conftest import launch_case

COUNTS = (3, 4, 5, 6, 7, 10, 15)
COMMON = ("single", "", "mlp", "tiny", "synthetic", "cpu", 1)
CASES = [Case("busy", engine, *COMMON, steps=20, probe_steps=0, warmup_limit=20)
         for engine in ("plain", "again", "slower")]


@dataclass(frozen=True)
class Compared:
    """A case against itself and against the slower one; ``stopped`` says what ended the run."""

    same: Comparison
    slower: Comparison
    blocks: int
    stopped: str


def compare_once(seed: int, **options: Any) -> Compared:
    """Under the standard preset's precision and budget, unless ``options`` say otherwise."""
    config = resolve("standard", None, {"seed": seed, "probes": 0} | options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        (folder / "cases").mkdir(parents=True)
        runner = Runner(config, CASES, folder, lambda _: None, _launch)
        runner.execute()
        rows = runner.finish("complete")
    assert all(row.status == "ok" for row in rows), [row.reason for row in rows]
    plain, again, slower = rows
    stopped = runner.run["stopped"]
    return Compared(compare_cases(plain, again), compare_cases(plain, slower),
                    stopped["blocks"], stopped["by"])


def _launch(request: LaunchRequest) -> Outcome:
    """The reference is this adapter's too: what is tested here is time."""
    if request.case.framework != "busy":
        case = replace(request.case, framework="busy", engine="plain")
        case.write(request.case_path)
        request = replace(request, case=case)
    return launch(request)


def report(count: int = 20) -> int:
    """Prints each comparison; 1 where over a tenth of equal or under nine tenths of slower fail."""
    began, false, found = time.monotonic(), 0, 0
    print("          equal: ratio, verdict           5 % slower: ratio, verdict     blocks")
    for number in range(count):
        one = compare_once(number)
        false += one.same.verdict != "tie"
        found += one.slower.verdict == "faster"
        print(f"{number + 1:4d}  {_text(one.same)}  {_text(one.slower)}  {one.blocks:4d} "
              f"{one.stopped}", flush=True)
    print(f"equal called different: {false} of {count}; 5 % found: {found} of {count}; "
          f"{time.monotonic() - began:.0f} s")
    return int(false > 0.1 * count or found < 0.9 * count)


def _text(found: Comparison) -> str:
    return f"{found.ratio:.3f} [{found.low:.3f}, {found.high:.3f}] {found.verdict:7}"


def record(file: str, count: int = 30) -> None:
    """Appends the step times of real launches to ``file``, a JSON line each."""
    common = ("mlp", "tiny", "real", "cpu")
    cases = [
        Case("pytorch", "torch", "data", "", *common, 2, probe_steps=0),
        Case("pytorch", "torch", "single", "", *common, 1, probe_steps=0),
        Case("tensorflow", "tensorflow", "single", "", *common, 1, probe_steps=0),
    ]
    with tempfile.TemporaryDirectory() as folder, Path(file).open("a") as stream:
        for number in range(count):
            for case in cases:
                outcome = launch_case(case, Path(folder) / f"{case.case_id}{number}")
                assert outcome.status == "ok", outcome.reason
                steps = step_seconds(read_records(outcome.records)).tolist()
                stream.write(json.dumps({"case": case.case_id, "steps": steps}) + "\n")
                stream.flush()


def resample(file: str, draws: int = 2000) -> None:
    """Recorded launches against themselves: neighbours in time are the two sides of a block."""
    print(f"{'called different, per cent':40}" + "".join(f"{count:6d}" for count in COUNTS))
    for name, medians in recorded(Path(file)).items():
        shares = [100 * false_differences(medians, count, draws) for count in COUNTS]
        spread = np.log(medians).std(ddof=1)
        print(f"{name:30}{len(medians):4d}{spread:6.2f}" + "".join(f"{x:6.1f}" for x in shares))


def recorded(file: Path) -> dict[str, list[float]]:
    """Case -> seconds of its launches' median steps, in the order they were made."""
    found: dict[str, list[float]] = {}
    for line in file.read_text().splitlines():
        launched = json.loads(line)
        found.setdefault(launched["case"], []).append(float(np.median(launched["steps"])))
    return found


def false_differences(medians: list[float], count: int, draws: int) -> float:
    """Share of ``draws`` comparisons of ``count`` blocks whose interval excludes 1."""
    pairs = np.asarray(medians[: len(medians) // 2 * 2]).reshape(-1, 2)
    generator = np.random.default_rng(count)
    different = 0
    for _ in range(draws):
        chosen = generator.permuted(pairs[generator.permutation(len(pairs))[:count]], axis=1)
        different += excludes_one(ratio_interval(chosen[:, 0], chosen[:, 1]))
    return different / draws
