"""The limit holds real allocations of both engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.analysis.memory_frontier import frontier_columns
from suite.config.model import RunConfig
from suite.contract.case import Case
from suite.machine.software import installed_version
from suite.measure.memory_frontier import find_frontiers
from suite.measure.runner import Runner

# Of a process, above what the framework holds itself; a batch is some 0.4 kB a sample.
LIMITS = {"pytorch": 500 << 20, "tensorflow": 900 << 20}
ENGINES = {"pytorch": "torch", "tensorflow": "tensorflow"}
START = 1 << 18


@pytest.mark.parametrize("framework", [
    "pytorch", pytest.param("tensorflow", marks=pytest.mark.long),
])
def test_batches_grow_until_the_limit(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed_version([framework, f"{framework}-cpu", ENGINES[framework]]):
        pytest.skip(f"{framework} is not installed")
    (tmp_path / "cases").mkdir()
    case = Case(framework, ENGINES[framework], "single", "", "mlp", "tiny", "real", "cpu", 1,
                global_batch=START)
    limit = LIMITS[framework]
    config = RunConfig(find_max_batch=True, memory_limit=limit, batch_resolution=0.99)
    runner = Runner(config, [case], tmp_path, lambda _: None)
    # As if it were proven: what is looked at here is the search alone.
    runner.results[0].launches = [[{}]]
    monkeypatch.setattr(runner, "save", lambda: [])
    find_frontiers(runner)
    found = frontier_columns(runner.results[0].probes)
    assert found["max_batch"] >= START < found["failed_batch"]
    assert found["max_batch_memory_bytes"] <= limit == found["memory_limit_bytes"]
    assert found["failed_batch_reason"].startswith("oom: "), found
    fitting = [p.peak_memory_bytes for p in found["frontier"] if p.status == "ok"]
    assert fitting == sorted(fitting)
