"""Plans for devices of unequal speed, held against all plans there are."""

from __future__ import annotations

from dataclasses import asdict
from itertools import accumulate, combinations, pairwise, product
from pathlib import Path

import numpy as np
import pytest

from suite.analysis.ledger import build_ledger
from suite.cli import run as commands
from suite.cli.run import with_measured_speeds
from suite.config.matrix import build_matrix
from suite.config.model import RunConfig
from suite.config.resolution import resolve
from suite.config.validation import validate
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.planned_loss import share_weighted
from suite.contract.splits.batches import batch_slice
from suite.contract.splits.shares import proportional_shares
from suite.contract.splits.stages import balanced_cuts, stage_units, stages_of_weights
from suite.contract.splits.volumes import logical_communications
from suite.contract.workloads import find_workload
from suite.machine import devices
from suite.machine.calibration import CoreRate, relative_speeds
from suite.measure.availability import unsupported_reason
from suite.measure.memory_frontier import batch_unit
from suite.report.reproduce import shared_options
from tests.measure.test_runner import FakeCalibration, FakeLauncher, _runner

SPEEDS = [(1.0, 0.5), (1.0, 1.0, 0.3), (0.2, 1.0, 0.7), (3.0, 1.0), (1.0, 0.01)]


@pytest.mark.parametrize("speeds", SPEEDS)
@pytest.mark.parametrize("total", [1, 2, 5, 9, 16])
def test_shares_end_as_soon_as_in_any_plan(total: int, speeds: tuple[float, ...]) -> None:
    def ends(shares: tuple[int, ...] | list[int]) -> float:
        return max(share / speed for share, speed in zip(shares, speeds, strict=True))

    found = proportional_shares(total, speeds)
    plans = [p for p in product(range(total + 1), repeat=len(speeds)) if sum(p) == total]
    assert sum(found) == total and ends(found) == pytest.approx(min(map(ends, plans)))


def test_equal_speeds_share_evenly() -> None:
    assert proportional_shares(64, [1.0, 1.0]) == [32, 32]
    assert [batch_slice(9, 2, rank, (1.0, 0.5)) for rank in (0, 1)] == [slice(0, 6), slice(6, 9)]
    assert batch_slice(8, 2, 1) == batch_slice(8, 2, 1, (1.0, 1.0)) == slice(4, 8)


COSTS = [(1.0, 2.0, 3.0, 4.0), (5.0, 1.0, 1.0, 1.0, 5.0), (1.0, 1.0, 8.0, 1.0, 1.0, 2.0)]


@pytest.mark.parametrize("costs", COSTS)
@pytest.mark.parametrize("speeds", SPEEDS)
def test_cuts_by_speed_are_the_best_of_all(
    costs: tuple[float, ...], speeds: tuple[float, ...]
) -> None:
    def longest(edges: tuple[int, ...]) -> float:
        spans = zip(pairwise(edges), speeds, strict=True)
        return max(sum(costs[start:end]) / speed for (start, end), speed in spans)

    found = balanced_cuts(costs, len(speeds), speeds)
    assert sum(found) == len(costs) and min(found) > 0
    inner = combinations(range(1, len(costs)), len(speeds) - 1)
    best = min(longest((0, *cuts, len(costs))) for cuts in inner)
    assert longest((0, *accumulate(found))) == pytest.approx(best)


def test_a_slow_stage_gets_fewer_layers_and_their_weights() -> None:
    spec = find_workload("mlp", "wide")
    assert [len(group) for group in stage_units(spec, 2, (1.0, 0.5))] == [3, 2]
    assert stages_of_weights(spec, 2)["layer2.weight"] == (1,)
    assert stages_of_weights(spec, 2, (1.0, 0.5))["layer2.weight"] == (0,)
    assert balanced_cuts([1.0], 3, (1.0, 2.0, 3.0)) == [1, 0, 0]
    tokens = Case("pytorch", "torch", "inter_layer", "gpipe", "mlp", "tiny", "real", "cpu", 2)
    planned = Case(**vars(tokens) | {"device_speeds": (0.1, 1.0)})
    assert logical_communications(planned) == logical_communications(tokens)  # one cut, as before


def test_weighted_shares_have_the_mean_of_the_batch() -> None:
    values, targets = np.arange(9.0), np.zeros(9)
    loss = share_weighted(lambda outputs, _: outputs.mean(), 2, 9)
    shares = [batch_slice(9, 2, rank, (1.0, 0.5)) for rank in (0, 1)]
    assert np.mean([loss(values[s], targets[s]) for s in shares]) == pytest.approx(values.mean())


def _config(**options: object) -> RunConfig:
    base = {"framework": ["pytorch"], "workload": ["mlp"], "size": "tiny"}
    return validate(RunConfig, base | {"device_speeds": "1,0.5"} | options)


def test_the_matrix_is_planned_by_speed() -> None:
    single, data, intra, inter = build_matrix(_config(), 0)
    assert single.device_speeds == () and data.device_speeds == inter.device_speeds == (1.0, 0.5)
    assert data.case_id == "pytorch.data.mlp-tiny.cpu2.speeds-1-0.5"
    assert "unequal size are planned for" in unsupported_reason(intra, {"pytorch": "python"})
    assert not unsupported_reason(data, {"pytorch": "python"})
    even = build_matrix(_config(device_speeds=[1.0, 1.0]), 0)
    assert even == build_matrix(_config(device_speeds=[]), 0)
    assert build_ledger(data, [])["device_speeds"] == "1, 0.5"
    assert "device_speeds" not in build_ledger(single, [])


def test_an_uneven_batch_needs_no_divisor() -> None:
    case = build_matrix(_config(strategy=["data"], batch=97), 0)[0]
    assert case.spec.global_batch == 97 and batch_unit(case) == 3
    with pytest.raises(UsageError, match="a sample of the global batch 97 for each"):
        build_matrix(_config(strategy=["data"], batch=97, device_speeds="1,0.001"), 0)


def test_samples_that_see_each_other_are_not_shared_unevenly() -> None:
    case = build_matrix(_config(strategy=["data"], workload=["resnet"]), 0)[0]
    assert "batch normalisation" in unsupported_reason(case, {"pytorch": "python"})


@pytest.mark.parametrize(("speeds", "words"), [
    ("1", "one for each of 2 devices"), ("1,0", "positive number"), ("1,x", "number for each"),
    ("1,nan", "positive number"),
])
def test_speeds_that_are_none(speeds: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build_matrix(resolve("quick", None, {"device_speeds": speeds}), 0)


def test_measured_speeds_are_the_cores_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = [CoreRate("cpu0", 3e9, 1e9), CoreRate("cpu1", 4e9, 1e9)]
    assert relative_speeds(rates) == [0.75, 1.0]
    monkeypatch.setattr(devices, "allowed_cores", lambda: [0, 1])
    monkeypatch.setattr(commands, "measure_cores", lambda cores: rates)
    config = with_measured_speeds(_config(device_speeds="measured", device="cpu"))
    assert build_matrix(config, 0)[1].device_speeds == (0.75, 1.0)
    assert "--device-speeds 0.75,1.0" in shared_options(asdict(config))
    with pytest.raises(UsageError, match="a core for each CPU device"):
        with_measured_speeds(_config(device_speeds="measured", device="cpu", devices=[3]))


def test_planned_devices_keep_their_cores(tmp_path: Path) -> None:
    """Speeds are of cores: a rank that moved would get another's share."""
    case = Case("pytorch", "torch", "data", "", "mlp", "tiny", "synthetic", "cpu", 2,
                device_speeds=(1.0, 0.5))
    runner = _runner(tmp_path, FakeLauncher(), FakeCalibration(), [case])
    runner.execute()
    assert runner.results[0].cores == [[0, 1]] * 3


def test_a_case_is_read_as_it_was_written(tmp_path: Path) -> None:
    case = Case("pytorch", "torch", "data", "", "mlp", "tiny", "synthetic", "cpu", 2,
                global_batch=32, device_speeds=(1.0, 0.5))
    case.write(tmp_path / "case.json")
    assert Case.read(tmp_path / "case.json") == case and hash(case)
