"""What a launch is held against, and a reference that proves nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.analysis.parity import Evidence
from suite.config.model import RunConfig
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.workloads import find_workload, initial_weights
from suite.launch import bounds
from suite.launch.group import LaunchRequest, Outcome
from suite.launch.starter import Starter
from suite.machine.calibration import CoreRate
from suite.machine.gpus import Gpu
from suite.measure import proof_limits, shallow
from suite.measure.proof_limits import ProofLimits
from suite.measure.proofs import Proofs, references
from suite.measure.shallow import SHALLOW_ATTEMPTS, depths
from tests.synthetic import SINGLE


def _trained(change: float, gradient: float = 1.0) -> Evidence:
    initial = initial_weights(SINGLE.spec, SINGLE.seed)
    gradients = {name: np.full_like(array, gradient) for name, array in initial.items()}
    parameters = {name: array + np.float32(change) for name, array in initial.items()}
    return Evidence([1.0, 0.5], gradients, parameters)


@pytest.mark.parametrize(("reference", "status", "said"), [
    (_trained(0.1), "ok", ""), (_trained(0.0), "failed", "does not train"),
    (_trained(float("nan")), "failed", "NaN"), (_trained(0.1, 1e30), "failed", "square"),
])
def test_a_reference_that_proves_nothing_refuses_even_its_like(
    reference: Evidence, status: str, said: str
) -> None:
    starter: Any = None
    proofs = Proofs(starter, lambda text: None)
    proofs.references[SINGLE.reference_id] = reference
    verdict = proofs.verdict(SINGLE, reference)
    assert verdict and verdict.status == status and said in verdict.reason


def test_a_case_without_a_reference_has_no_verdict() -> None:
    starter: Any = None
    assert Proofs(starter, lambda text: None).verdict(SINGLE, _trained(0.1)) is None


def test_another_adapters_reference_is_preferred() -> None:
    assert references("horovod")[0] == ("pytorch", "torch")
    assert references("fake")[-1] == ("fake", "numpy")
    assert replace(SINGLE, framework="fake").reference_id == SINGLE.reference_id


class Device:
    """A launcher of one device and of cases: the fake losses and arrays of a right or wrong one."""

    def __init__(self, wrong: str = "", slow: bool = False) -> None:
        self.cases: list[Case] = []
        self.wrong, self.slow = wrong, slow

    def __call__(self, request: LaunchRequest) -> Outcome:
        case, folder = request.case, request.folder
        self.cases.append(case)
        if self.slow and case.dtype == "float64" and not case.depth:
            return Outcome("timeout", "not finished", 0.1, [])
        folder.mkdir(parents=True, exist_ok=True)
        off = 1.01 if self.wrong == f"depth{case.depth}" and case.strategy == "data" else 1.0
        if case.proof_arrays:
            shapes = case.spec.shapes().items()
            np.savez(folder / "parity.npz",
                     **{f"gradient/{n}": np.full(s, off) for n, s in shapes},
                     **{f"parameter/{n}": np.full(s, 1.01) for n, s in shapes})
        losses = [2.0 * off, 1.9 * off] if not case.depth else [3.0 * off, 2.8 * off]
        return Outcome("ok", "", 0.1, [{"rank": 0, "losses": losses}])


GPT = Case("pytorch", "torch", "data", "", "gpt", "tiny", "synthetic", "cpu", 2)
LITTLE = 8 << 20  # more than two of its blocks need in float64, less than four


def _proofs(folder: Path, device: Device, memory: int | None = LITTLE) -> Proofs:
    config = RunConfig(framework=["pytorch"], proof_memory=memory)
    return Proofs(Starter(config, folder, device), lambda text: None)


def _prove(proofs: Proofs, case: Case) -> dict[str, Any]:
    proofs.refer(case)
    return proofs.prove_strictly(case)


def test_what_is_too_large_for_float64_is_proven_by_its_first_units(tmp_path: Path) -> None:
    device = Device()
    proofs = _proofs(tmp_path, device)
    ended = _prove(proofs, GPT)
    first, whole, case = device.cases
    # The reference of two of four blocks at full width, then the losses of all on one device.
    assert (first.depth, first.dtype, first.strategy, first.proof_arrays) == (
        2, "float64", "single", True)
    assert first.spec.width == GPT.spec.width and len(first.spec.units()) == 2
    assert (whole.depth, whole.dtype, whole.proof_arrays) == (0, "float32", False)
    assert (case.depth, case.strategy, case.dtype, case.devices) == (2, "data", "float32", 2)
    assert (case.steps, case.probe_steps, case.warmup_limit) == (1, 0, PARITY_STEPS)
    assert ended["parity"]["status"] == "ok", ended
    assert ended["parity"]["proof"] == (
        "float64 of 2 of 4 units; losses of all 4 against float32 on one device")
    verdict = proofs.verdict(GPT, Evidence([2.0, 1.9], {}, {}))
    assert verdict and verdict.status == "ok" and verdict.proof == ended["parity"]["proof"]
    assert list(proofs.expected_losses(GPT)) == [2.0, 1.9]


def test_a_reference_that_takes_too_long_is_tried_and_then_made_shallower(tmp_path: Path) -> None:
    device = Device(slow=True)
    ended = _prove(_proofs(tmp_path, device, memory=None), GPT)
    assert [(c.dtype, c.depth) for c in device.cases] == [
        ("float64", 0), ("float64", 2), ("float32", 0), ("float32", 2)]
    assert ended["parity"]["proof"].startswith("float64 of 2 of 4 units")


def test_what_is_wrong_in_the_first_units_or_in_the_whole_is_refused(tmp_path: Path) -> None:
    ended = _prove(_proofs(tmp_path / "units", Device("depth2")), GPT)
    assert ended["parity"]["status"] == "failed" and "gradients" in ended["parity"]["reason"]
    proofs = _proofs(tmp_path / "whole", Device())
    proofs.refer(GPT)
    for losses in ([2.0 * 1.01, 1.9], [2.0, 1.9 * 1.1], [2.0, float("nan")]):
        verdict = proofs.verdict(GPT, Evidence(losses, {}, {}))
        assert verdict and verdict.status == "failed", losses


def test_what_fits_is_proven_as_a_whole(tmp_path: Path) -> None:
    device = Device()
    ended = _prove(_proofs(tmp_path, device, memory=None), GPT)
    assert [case.depth for case in device.cases] == [0, 0]
    assert ended["parity"]["proof"] == "float64" and ended["depth"] == 0


def test_a_pipeline_keeps_two_units_in_each_stage_or_one_where_it_must() -> None:
    large = replace(GPT, size="gpt3-xl", strategy="inter_layer", variant="gpipe", devices=4)
    assert depths([large])[0] == 8
    # From two units to four in each stage, and then fewer.
    one = replace(large, strategy="data", variant="", devices=2)
    assert depths([one]) == [2, 3, 4, 1][:SHALLOW_ATTEMPTS]
    assert depths([replace(GPT, strategy="inter_layer", variant="gpipe")]) == [3, 2]
    # Four stages are all its blocks: no shallower model passes from each to the next.
    assert depths([replace(GPT, strategy="inter_layer", variant="interleaved")]) == []


def test_no_part_of_more_than_four_units_a_stage_is_tried(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    divided = {1, 5}
    monkeypatch.setattr(shallow, "division_problem",
                        lambda case: "" if case.depth in divided else "not divided")
    large = replace(GPT, size="gpt3-xl")
    assert depths([large]) == [1]
    divided.add(4)
    assert depths([large]) == [4, 1]


def test_a_case_with_too_many_stages_does_not_spoil_the_others(tmp_path: Path) -> None:
    proofs = _proofs(tmp_path, Device())
    deep = replace(GPT, strategy="inter_layer", variant="interleaved")
    proofs.refer(deep, GPT)
    assert proofs.shallow(GPT) and not proofs.shallow(deep)
    assert "enough for inter_layer" in proofs.missing(deep) and proofs.missing(GPT) == ""
    assert proofs.verdict(deep, Evidence([2.0, 1.9], {}, {})) is None


def test_without_room_for_any_reference_the_reason_says_what_is_needed(tmp_path: Path) -> None:
    device = Device()
    proofs = _proofs(tmp_path, device, memory=1 << 20)
    proofs.refer(GPT)
    assert device.cases == [] and "needs 11.4 MB of memory or more" in proofs.missing(GPT)
    assert "--proof-memory" in proofs.missing(GPT)


def test_time_is_taken_from_parameters_and_the_measured_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "measure_cores", lambda cores: [CoreRate("cpu0", 5e10, 1e10)])
    starter = Starter(RunConfig(framework=["pytorch"]), tmp_path)
    large = replace(GPT, size="gpt2", devices=1, strategy="single", dtype="float64", steps=1)
    least = starter.bounds.least_seconds(large, 10 + 1)
    assert least == pytest.approx(large.spec.flops_per_sample() * 8 * 11 / 2.5e10)
    limits = ProofLimits(starter.config, starter.bounds)
    assert f"takes {least:.0f} s or more, 600 s may be taken" in limits.problem(large)
    # A launch of a small model has the timeout; a large model's has what its steps need.
    assert starter.bounds.launch_seconds(GPT) == 120.0
    steps = 50 + 20 + 2 * 5 + 4
    timed = replace(large, dtype="float32", steps=20)
    assert starter.bounds.launch_seconds(timed) == pytest.approx(
        4 * large.spec.flops_per_sample() * 8 * steps / 5e10, abs=1)


def test_a_gpu_model_is_bounded_by_its_memory_and_datasheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    h200 = Gpu(0, "NVIDIA H200", memory_bytes=141 << 30)
    monkeypatch.setattr(bounds, "usable_gpus", lambda: [h200])
    monkeypatch.setattr(proof_limits, "available_bytes", lambda: 1 << 40)
    starter = Starter(RunConfig(framework=["pytorch"]), tmp_path)
    limits = ProofLimits(starter.config, starter.bounds)
    xl = Case("pytorch", "torch", "single", "", "gpt", "gpt3-xl", "synthetic", "cuda", 1,
              dtype="float64", steps=1)
    assert limits.problem(xl) == ""
    # 1.3e9 parameters, 16384 tokens a step, 34 TFLOP/s: more than the timeout of 120 s.
    assert 120 < limits.seconds(xl) < 600
    larger = replace(xl, size="gpt3-6.7b")
    assert "GPU memory" in limits.problem(larger)
    assert limits.problem(replace(larger, depth=2)) == ""


@pytest.mark.parametrize(("workload", "size"), [
    ("mlp", "wide"), ("gpt", "gpt3-xl"), ("bert", "small"), ("xlnet", "base"),
    ("resnet", "50"), ("efficientnet", "b4"),
])
def test_every_family_can_be_made_shallower_at_full_width(workload: str, size: str) -> None:
    whole = find_workload(workload, size)
    part = whole.shallower(3)
    assert part and len(part.units()) < len(whole.units())
    # At full width: no parameter has a shape that the whole model lacks.
    known = set(whole.shapes().values())
    assert set(part.shapes().values()) <= known
    assert whole.shallower(len(whole.units())) is None and whole.shallower(0) is None
