"""Step time of each adapter over that of a plain script, interleaved in one run.

    python -m tests.reference [ROUNDS] [NAME_PART]

Both sides start under the adapter's launch plan: the same variables, pinning and rendezvous.
Prints the ratio of medians over the rounds, and the range of the rounds' own ratios.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from suite.analysis.rows import step_seconds
from suite.config import ENGINES
from suite.environment import allowed_cores
from suite.launch import manifest
from suite.spec.case import Case
from suite.spec.strategies import STRATEGIES
from tests.conftest import launch_case

FOLDER = Path(__file__).parent


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    part = sys.argv[2] if len(sys.argv) > 2 else ""
    names = [name for name in _names() if part in name]
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for name in names:
                where = Path(folder) / f"{name}{number}"
                pairs[name].append(_pair(name, where, number % 2 == 1))
    print(f"{'cell':34}{'adapter':>10}{'plain':>10}{'ratio':>8}   rounds")
    for name, found in pairs.items():
        ours, theirs = (statistics.median(side) for side in zip(*found, strict=True))
        each = sorted(a / b for a, b in found)
        print(f"{name:34}{ours * 1e3:8.2f}ms{theirs * 1e3:8.2f}ms{ours / theirs:8.3f}"
              f"   {each[0]:.3f} to {each[-1]:.3f}")


def _pair(name: str, where: Path, plain_first: bool) -> tuple[float, float]:
    """Seconds of adapter and plain script; the first of two meets a colder machine."""
    case = _names()[name]
    if plain_first:
        theirs = _plain(name, where)
        return _adapter(case, where), theirs
    return _adapter(case, where), _plain(name, where)


def _names() -> dict[str, Case]:
    cases = {}
    for framework, engines in ENGINES.items():
        for engine in engines:
            for strategy in STRATEGIES:
                name = framework if framework != "horovod" else f"horovod_{engine}"
                variant = "gpipe" if strategy == "inter_layer" else ""
                count = 1 if strategy == "single" else 2
                cases[f"{name}_{strategy}"] = Case(
                    framework, engine, strategy, variant, "mlp", "wide", "real", "cpu", count
                )
    return cases


def _adapter(case: Case, folder: Path) -> float:
    outcome = launch_case(case, folder)
    assert outcome.status == "ok", outcome.reason
    return float(np.median(step_seconds(outcome.records)))


def _plain(name: str, folder: Path) -> float:
    """The slowest rank's median."""
    case = _names()[name]
    folder = folder.with_suffix(".plain")
    folder.mkdir()
    plan = manifest(case.framework).launch_plan(case, folder, sys.executable)
    processes = []
    extra: dict[str, str] = {}
    if plan.helper and plan.helper_output:
        processes.append(_spawn(list(plan.helper), {}, FOLDER.parent.parent))
        while not plan.helper_output.exists():
            time.sleep(0.02)
        extra = json.loads(plan.helper_output.read_text())
    cores = allowed_cores()[: case.devices]
    for rank, variables in enumerate(plan.environment):
        mine = cores if plan.processes == 1 else cores[rank : rank + 1]
        command = ["taskset", "-c", ",".join(map(str, mine)), sys.executable, f"{name}.py"]
        processes.append(_spawn(command, {**variables, **extra}, FOLDER))
    ranks = processes[-plan.processes :]
    outputs = [process.communicate(timeout=120)[0] for process in ranks]
    for process in processes:
        process.kill()
    assert not any(process.returncode for process in ranks), outputs
    return max(json.loads(text.splitlines()[-1])["median"] for text in outputs)


def _spawn(
    command: list[str], extra: dict[str, str], where: Path
) -> subprocess.Popen[str]:
    environment = os.environ | extra
    return subprocess.Popen(
        command, env=environment, cwd=where, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
