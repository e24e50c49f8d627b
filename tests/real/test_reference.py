"""Plain scripts and the comparison with them, run for real."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest

from suite.contract.case import Case
from suite.contract.registry import engines, traits_of
from suite.contract.splits.strategies import STRATEGIES
from suite.contract.workloads import find_workload
from suite.machine.software import installed_version
from tests.conftest import launch_case
from tests.reference.__main__ import SIZES, cases, measure
from tests.reference.losses import WORKLOADS
from tests.reference.pair import script_name

COLUMNS = [(framework, engine) for framework, offered in engines().items() for engine in offered]


@pytest.mark.alone
def test_both_sides_train_in_one_group_of_processes() -> None:
    case = next(case for case in cases(4) if script_name(case) == "pytorch_data")
    found = measure(case, 1)
    assert 0 < found.low <= found.ratio <= found.high
    assert 0.5 < found.ratio < 2


# PyTorch's take seconds; TensorFlow traces each script's step of each workload anew.
@pytest.mark.parametrize(("framework", "engine"), [
    pytest.param(*column, marks=[pytest.mark.long] * bool(number))
    for number, column in enumerate(COLUMNS)
])
def test_plain_scripts_train_as_the_single_device_does(
    framework: str, engine: str, tmp_path: Path
) -> None:
    """Gradients too: with a part of them missing the second loss would be another."""
    if not installed_version(traits_of(framework).distributions):
        pytest.skip(f"{framework} is not installed")
    case = Case(framework, engine, "data", "", "mlp", "tiny", "real", "cpu", 2)
    outcome = launch_case(case, tmp_path / "losses", 240, worker="tests.reference.losses")
    assert outcome.status == "ok", outcome.reason
    for workload in WORKLOADS[framework]:
        found = {
            key.removeprefix(f"{workload} "): _mean([one["losses"][key] for one in outcome.records])
            for key in outcome.records[0]["losses"] if key.startswith(f"{workload} ")
        }
        assert found["single"][1] < found["single"][0]
        for strategy in STRATEGIES:
            # Batch norm sees a replica's samples, a micro-batch's.
            grouped = strategy in ("data", "inter_layer") and "grouped" in found
            expected = found["grouped" if grouped else "single"]
            assert found[strategy] == pytest.approx(expected, rel=1e-5), (workload, strategy)
        spec = find_workload(workload, SIZES[workload])
        written = sorted(prod(shape) for shape in spec.shapes().values())
        for one in outcome.records:
            assert sorted(one["sizes"][workload]) == written, workload


def _mean(losses: list[list[float] | None]) -> np.ndarray:
    """Of a batch in equal shards that of the ranks' means; a pipeline's first stage has none."""
    return np.mean([each for each in losses if each is not None], axis=0)
