"""Scheduling, proof and saving, with a launcher that starts nothing."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.pytorch import build as torch_build
from adapters.tensorflow import build as tensorflow_build
from suite.analysis.doubts import Conditions
from suite.analysis.rows import build_rows
from suite.config.model import RunConfig
from suite.contract.case import Case
from suite.contract.metrics import COLUMNS
from suite.launch.group import LaunchRequest, Outcome
from suite.machine import software
from suite.machine.calibration import Block, CoreRate
from suite.measure.ending import exit_code
from suite.measure.progress import Progress
from suite.measure.runner import Runner
from suite.runfolder.reading import read_run


class FakeLauncher:
    """Answers in no time; ``plant`` changes a case's outcome or losses by its id.

    ``noise`` is the deviation of a case's launches by its id, ``speed`` its time over the others';
    ``clock`` moves by ``seconds``.
    """

    def __init__(self) -> None:
        self.started: list[tuple[str, str]] = []
        self.cases: list[Case] = []
        self.folders: list[Path] = []
        self.plant: dict[str, Any] = {}
        self.noise: dict[str, float] = {}
        self.speed: dict[str, float] = {}
        self.generator = np.random.default_rng(0)
        self.now, self.seconds = 0.0, 0.1

    def __call__(self, request: LaunchRequest) -> Outcome:
        case, folder, cores = request.case, request.folder, list(request.cores)
        self.started.append((folder.name, case.case_id))
        self.folders.append(folder)
        self.cases.append(case)
        self.now += self.seconds
        folder.mkdir(parents=True, exist_ok=True)
        planted = self.plant.get(case.case_id)
        if isinstance(planted, BaseException):
            raise planted
        if planted == "crash":
            return Outcome("failed", "planted", 0.1, [])
        scale = planted if isinstance(planted, float) and case.dtype == "float32" else 1.0
        ones = {name: np.ones(shape) for name, shape in case.spec.shapes().items()}
        arrays = {f"gradient/{n}": a for n, a in ones.items()}
        # bfloat16 rounds gradients and leaves parameters float32.
        rounded = case.dtype == "bf16" and planted != "float32"
        arrays = {n: a * (1.004 if rounded else 1.0) for n, a in arrays.items()}
        after = 1.0001 if rounded else 1.0
        parameters = {f"parameter/{n}": a * after for n, a in ones.items()}
        np.savez(folder / "parity.npz", **arrays, **parameters)
        slow = np.exp(self.generator.normal(0, self.noise.get(case.case_id, 0.0)))
        slow *= self.speed.get(case.case_id, 1.0)
        records = [_record(case, rank, scale, slow, cores) for rank in range(case.devices)]
        return Outcome("ok", "", self.seconds, records)


def _record(
    case: Case, rank: int, scale: float, slow: float, cores: list[int]
) -> dict[str, Any]:
    probed = bool(case.probe_steps)
    trace = {"events": [], "busy": [[[0, 0], [0.01, 0.01]]], "missing": ""}
    return {
        "rank": rank, "step_seconds": [0.01 * slow, 0.012 * slow],
        "timed_step_seconds": [0.011 * slow] * probed, "traces": [trace] * probed,
        "warmup_seconds": [0.5 + rank],
        "traced_step_seconds": [0.02 * slow] * probed, "profiles": [],
        "silent_step_seconds": [0.009 * slow] * probed,
        "losses": [1.0, 0.5 * scale], "open_seconds": 0.1, "peak_memory_bytes": 5,
        "steady": True, "affinity": [cores[rank % len(cores)]], "ledger": {"dtype": case.dtype},
    }


class FakeCalibration:
    """Plants a core's rates by block; the real one starts a process for each block."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.steal: list[float] = []

    def begin(self, block: int) -> Block:
        rate = self.rates[block] if self.rates else 1e9
        return Block(block, [CoreRate("cpu0", rate, 1e10)])

    def end(self, block: Block) -> None:
        block.steal_share = self.steal[block.block] if self.steal else 0.0


@pytest.fixture
def launcher() -> FakeLauncher:
    return FakeLauncher()


@pytest.fixture
def machine() -> FakeCalibration:
    return FakeCalibration()


def _cases() -> list[Case]:
    common = ("mlp", "tiny", "synthetic", "cpu")
    return [
        Case("pytorch", "torch", "single", "", *common, 1),
        Case("pytorch", "torch", "data", "", *common, 2),
        Case("tensorflow", "tensorflow", "single", "", *common, 1),
    ]


def _runner(
    tmp_path: Path, launcher: FakeLauncher, machine: FakeCalibration | None = None,
    cases: list[Case] | None = None, **options: Any,
) -> Runner:
    (tmp_path / "cases").mkdir()
    config = RunConfig(**({"repeats": 3} | options))
    shown: list[Progress] = []
    runner = Runner(
        config, cases or _cases(), tmp_path, shown.append, launcher,
        calibrate=machine or FakeCalibration(),  # type: ignore[arg-type]
        clock=lambda: launcher.now,
    )
    runner.starter.cores = [0, 1]
    runner.shown = shown  # type: ignore[attr-defined]
    return runner


def _codes(row: dict[str, Any]) -> list[str]:
    return [warning.code for warning in row.warnings]


def _saved(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "results.csv").open() as stream:
        return list(csv.DictReader(stream))


def _run_of(tmp_path: Path, launcher: FakeLauncher, cases: list[Case]) -> list[dict[str, Any]]:
    runner = _runner(tmp_path, launcher, cases=cases)
    runner.execute()
    return runner.finish("complete")


def test_each_block_holds_each_case_once(tmp_path: Path, launcher: FakeLauncher) -> None:
    runner = _runner(tmp_path, launcher)
    runner.execute()
    names = [case.case_id for case in _cases()]
    assert launcher.started[0] == ("float64", names[0])
    for block in range(3):
        assert sorted(i for f, i in launcher.started if f == f"launch-{block}") == sorted(names)
    rows = runner.finish("complete")
    assert [row.status for row in rows] == ["ok"] * 3 and exit_code(rows) == 0
    assert [row.parity for row in rows] == ["ok"] * 3
    assert rows[1].speedup == pytest.approx(1.0) and rows[1].repeats == 3


def test_files_are_the_contract(tmp_path: Path, launcher: FakeLauncher) -> None:
    runner = _runner(tmp_path, launcher)
    runner.execute()
    runner.finish("complete")
    saved = _saved(tmp_path)
    assert list(saved[0]) == list(COLUMNS) and len(saved) == 3
    assert json.loads((tmp_path / "run.json").read_text())["state"] == "complete"
    ended = tmp_path / "cases" / saved[1]["case_id"] / "launch-2" / "outcome.json"
    assert json.loads(ended.read_text())["parity"]["status"] == "ok"
    for name in ("steps.csv", "losses.csv", "report.html"):
        assert (tmp_path / name).stat().st_size > 100


def test_a_failed_case_stops_alone(tmp_path: Path, launcher: FakeLauncher) -> None:
    launcher.plant[_cases()[1].case_id] = "crash"
    runner = _runner(tmp_path, launcher)
    runner.execute()
    rows = runner.finish("complete")
    assert [row.status for row in rows] == ["ok", "failed", "ok"] and exit_code(rows) == 1
    assert sum(name == _cases()[1].case_id for _, name in launcher.started) == 1


def test_other_losses_are_refused_not_ranked(tmp_path: Path, launcher: FakeLauncher) -> None:
    launcher.plant[_cases()[2].case_id] = 1.01
    runner = _runner(tmp_path, launcher)
    runner.execute()
    row = runner.finish("complete")[2]
    assert (row.status, row.parity) == ("refused", "failed")
    assert row.step_time_s is None and "losses by" in row.reason
    assert exit_code([row]) == 4
    # Drift was measured before refusing.
    assert any(folder == "float32" for folder, _ in launcher.started)


def test_each_grouping_of_a_batch_has_a_reference(
    tmp_path: Path, launcher: FakeLauncher
) -> None:
    common = ("resnet", "tiny", "synthetic", "cpu")
    cases = [
        Case("pytorch", "torch", "single", "", *common, 1),
        Case("pytorch", "torch", "data", "", *common, 2),
        Case("pytorch", "torch", "intra_layer", "", *common, 2),
        Case("pytorch", "torch", "inter_layer", "gpipe", *common, 2),
        Case("horovod", "torch", "data", "", *common, 2),
        *(replace(case, workload="mlp") for case in _cases()[:2]),
    ]
    launcher.plant[cases[1].case_id] = 1.01
    runner = _runner(tmp_path, launcher, cases=cases, repeats=1)
    runner.execute()
    made = {folder: case for folder, case in zip(launcher.folders, launcher.cases, strict=True)
            if folder.parent.name.startswith("reference.")}
    assert {f"{path.parent.name}/{path.name}": case.statistics_groups
            for path, case in made.items()} == {
        "reference.resnet-tiny/float64": 1, "reference.resnet-tiny.groups2/float64": 2,
        "reference.resnet-tiny.groups4/float64": 4, "reference.mlp-tiny/float64": 1,
        # Drift is that of the same groups.
        "reference.resnet-tiny.groups2/float32": 2,
    }
    assert all(case.strategy == "single" and case.devices == 1 for case in made.values())
    others = set(launcher.cases) - set(made.values())
    assert {case.statistics_groups for case in others} == {1}
    runner.finish("stopped")
    assert {loss["case_id"] for loss in read_run(tmp_path).losses} == {
        result.case.case_id for result in runner.results if result.good
    }


def test_what_had_finished_survives_an_interruption(
    tmp_path: Path, launcher: FakeLauncher
) -> None:
    runner = _runner(tmp_path, launcher)
    original = runner._launch
    count = iter(range(10))

    def interrupted(result: Any, block: int) -> None:
        if next(count) == 4:
            raise KeyboardInterrupt
        original(result, block)

    runner._launch = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        runner.execute()
    assert [row["status"] for row in _saved(tmp_path)] == ["ok"] * 3
    assert sum(int(row["repeats"]) for row in _saved(tmp_path)) == 4


def test_no_reference_refuses(tmp_path: Path, launcher: FakeLauncher) -> None:
    launcher.plant[_cases()[0].case_id] = "crash"
    runner = _runner(tmp_path, launcher)
    runner.execute()
    rows = runner.finish("complete")
    assert [row.status for row in rows] == ["failed", "refused", "refused"]
    assert [row.stopped for row in rows] == [""] * 3 and runner.run["stopped"]["by"] == ""
    assert "reference" in rows[1].reason


def test_another_format_is_proven_in_float32_before_it_is_timed(
    tmp_path: Path, launcher: FakeLauncher
) -> None:
    case = replace(_cases()[0], dtype="bf16")
    rows = _run_of(tmp_path, launcher, [case])
    assert rows[0].status == rows[0].parity == "ok", rows[0].reason
    folders = [folder.parent.name if "launch" in folder.name else folder.name
               for folder in launcher.folders]
    proof = f"proof.{case.strict.case_id}"
    assert folders == ["float64", proof, *[case.case_id] * 3]
    assert read_run(tmp_path).rows()[0].parity_error == rows[0].parity_error


@pytest.mark.parametrize(("plant", "case_id", "status", "reason"), [
    (2.0, "strict", "refused", "in float32 it differs"),
    ("crash", "strict", "failed", "proof in float32: planted"),
    ("float32", "own", "refused", "no bfloat16 rounding"),
])
def test_a_format_is_refused_by_either_proof(
    tmp_path: Path, launcher: FakeLauncher, plant: Any, case_id: str, status: str, reason: str
) -> None:
    case = replace(_cases()[1], dtype="bf16")
    launcher.plant = {case.strict.case_id if case_id == "strict" else case.case_id: plant}
    rows = _run_of(tmp_path, launcher, [case])
    assert rows[0].status == status and reason in rows[0].reason
    timed = [one for one in launcher.cases if one.dtype == "bf16"]
    assert bool(timed) == (case_id == "own")


def test_oversubscribed_gets_no_speedup(tmp_path: Path, launcher: FakeLauncher) -> None:
    runner = _runner(tmp_path, launcher)
    runner.starter.cores = [0]
    runner.execute()
    row = runner.finish("complete")[1]
    assert row.speedup is None and "oversubscribed" in _codes(row)


def _launches(launcher: FakeLauncher) -> dict[str, int]:
    found = [name for folder, name in launcher.started if folder.startswith("launch")]
    return {case.case_id: found.count(case.case_id) for case in _cases()}


def test_a_precise_case_stops_and_its_base_keeps_pace(
    tmp_path: Path, launcher: FakeLauncher
) -> None:
    single, data, other = (case.case_id for case in _cases())
    launcher.noise = {data: 0.05}
    runner = _runner(tmp_path, launcher, precision=0.03, repeats=40)
    runner.execute()
    rows = runner.finish("complete")
    counts = _launches(launcher)
    assert counts[other] == 6 and counts[single] == counts[data] > 6
    assert [row.stopped for row in rows] == ["precision"] * 3
    assert runner.run["stopped"]["by"] == "precision"
    reach = (rows[1].speedup_ci_high - rows[1].speedup_ci_low) / 2 / rows[1].speedup
    assert reach <= 0.03


def test_launches_at_most_end_what_noise_does_not(tmp_path: Path, launcher: FakeLauncher) -> None:
    launcher.noise = {_cases()[1].case_id: 0.5}
    runner = _runner(tmp_path, launcher, precision=0.03, repeats=8)
    runner.execute()
    rows = runner.finish("complete")
    assert [row.stopped for row in rows] == ["repeats", "repeats", "precision"]
    assert "imprecise" in _codes(rows[1]) and rows[1].repeats == 8
    assert runner.run["stopped"] == {"by": "repeats", "blocks": 8, "seconds": pytest.approx(2.2)}


def test_the_budget_ends_the_blocks(tmp_path: Path, launcher: FakeLauncher) -> None:
    launcher.seconds = 10.0  # a block takes 30 s
    runner = _runner(tmp_path, launcher, budget=100.0, repeats=30)
    runner.execute()
    rows = runner.finish("complete")
    # A fourth block would end at 120 s, further from 100 than 90 is.
    assert [row.repeats for row in rows] == [3, 3, 3]
    assert [row.stopped for row in rows] == ["budget"] * 3
    assert json.loads((tmp_path / "run.json").read_text())["stopped"]["by"] == "budget"


def test_time_left_knows_the_rules(tmp_path: Path, launcher: FakeLauncher) -> None:
    launcher.seconds = 10.0
    runner = _runner(tmp_path, launcher, budget=100.0, repeats=30)
    runner.execute()
    shown = [event for event in runner.shown if event.text.startswith("block")]  # type: ignore[attr-defined]
    assert [event.left_s for event in shown[1:]] == [90, 80, 70, 60, 50, 40, 30, 20]
    assert all(event.total <= 10 for event in shown[1:])


def test_only_the_first_launches_have_probes(tmp_path: Path, launcher: FakeLauncher) -> None:
    runner = _runner(tmp_path, launcher, probes=2, timeline=True)
    runner.execute()
    mine = [case for case in launcher.cases if case.strategy == "data"]
    assert [case.probe_steps for case in mine] == [5, 5, 0]
    assert [case.timeline for case in mine] == [True, False, False]
    folder = tmp_path / "cases" / _cases()[1].case_id
    written = [Case.read(folder / f"launch-{block}" / "case.json") for block in range(3)]
    assert written == mine
    row = runner.finish("complete")[1]
    assert row.repeats == 3 and row.load_balance == 1.0
    assert row.instrumentation_overhead == pytest.approx(0.0)


def test_runs_without_probes(tmp_path: Path, launcher: FakeLauncher) -> None:
    runner = _runner(tmp_path, launcher, probes=0)
    runner.execute()
    row = runner.finish("complete")[1]
    assert row.status == "ok" and row.load_balance is None


def test_the_first_step_of_the_slowest_rank(tmp_path: Path, launcher: FakeLauncher) -> None:
    runner = _runner(tmp_path, launcher)
    runner.execute()
    assert [row.first_step_s for row in runner.finish("complete")] == [0.5, 1.5, 0.5]


def test_calibration_of_each_block_is_kept(
    tmp_path: Path, launcher: FakeLauncher, machine: FakeCalibration
) -> None:
    machine.rates, machine.steal = [1.0e9, 1.2e9, 1.1e9], [0.0, 0.0, 0.07]
    runner = _runner(tmp_path, launcher, machine)
    runner.execute()
    rows = runner.finish("complete")
    assert all({"drift", "steal"} <= set(_codes(row)) for row in rows)
    assert rows[0].mfu == pytest.approx(rows[0].flops_per_s / 1.1e9)
    assert rows[1].mfu == pytest.approx(rows[1].flops_per_s / 2.2e9)
    kept = json.loads((tmp_path / "run.json").read_text())["blocks"]
    assert [block["rates"][0]["matmul_flops_s"] for block in kept] == machine.rates
    with (tmp_path / "calibration.csv").open() as stream:
        written = list(csv.DictReader(stream))
    assert [row["steal_share"] for row in written] == ["0.0", "0.0", "0.07"]


def test_warnings_and_ledger_are_text_in_the_file(tmp_path: Path, launcher: FakeLauncher) -> None:
    runner = _runner(tmp_path, launcher)
    runner.execute()
    runner.finish("complete")
    saved = _saved(tmp_path)[1]
    assert saved["warnings"].startswith("few_launches: there are only 3 launches, ")
    ledger = json.loads(saved["ledger"])
    assert ledger["global_batch"] == "64" and ledger["cores_per_device"] == "1"
    assert saved["verdict"] == "tie" and saved["base_case_id"] == _cases()[0].case_id


def test_a_missing_framework_is_unsupported_and_the_rest_runs(
    tmp_path: Path, launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = software.installed_version
    monkeypatch.setattr(
        software, "installed_version",
        lambda names: "" if "tensorflow" in names else original(names),
    )
    runner = _runner(tmp_path, launcher)
    runner.execute()
    rows = runner.finish("complete")
    assert [row.status for row in rows] == ["ok", "ok", "unsupported"]
    assert "not installed" in rows[2].reason and exit_code(rows) == 0


def test_a_horovod_of_other_versions_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    if not software.installed_version(["horovod"]):
        pytest.skip("horovod is not installed")
    from adapters import horovod

    case = Case("horovod", "torch", "data", "", "mlp", "tiny", "real", "cpu", 2)
    assert horovod.installation_problem(case) == ""
    monkeypatch.setitem(horovod.VERSIONS, "torch", lambda: "9.9")
    assert "and 9.9 is installed" in horovod.installation_problem(case)


def test_a_host_without_a_name_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    from adapters import horovod

    case = Case("horovod", "torch", "data", "", "mlp", "tiny", "real", "cpu", 2)
    assert horovod.unsupported_reason(case) == ""
    monkeypatch.setattr(horovod.socket, "gethostname", lambda: "no-such-name.invalid")
    assert "/etc/hosts" in horovod.unsupported_reason(case)


def test_horovod_on_another_interface_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    from adapters import horovod

    monkeypatch.setattr(horovod, "interface_of_host", lambda: "eth7")
    common = ("horovod", "torch", "data", "", "mlp", "tiny", "real", "cpu", 2)
    assert horovod.unsupported_reason(Case(*common)) == ""
    assert horovod.unsupported_reason(Case(*common, interface="eth7")) == ""
    assert "on eth7 here" in horovod.unsupported_reason(Case(*common, interface="eth8"))


def test_each_format_has_a_peak_of_its_own(tmp_path: Path, launcher: FakeLauncher) -> None:
    """By the framework, in the ranks: the calibration knows a core's float32 alone."""
    runner = _runner(tmp_path, launcher)
    runner.execute()
    result = runner.results[0]
    for records in result.good:
        for record in records:
            record.matmul_flops_s, record.device_memory_bytes = 4e9, 7
    blocks = [asdict(Block(0, [CoreRate("cpu0", 1e9, 1e9)]))]
    conditions = Conditions(blocks, gpu_peaks={"bf16": 8e9, "float32": 2e9})
    for dtype, device, measured, printed in [
        ("float32", "cpu", 4e9, None), ("bf16", "cpu", 4e9, None), ("bf16", "cuda", 4e9, 8e9),
        ("float32", "cuda", 4e9, 2e9), ("tf32", "cuda", 4e9, None),
    ]:
        result.case = replace(result.case, dtype=dtype, device=device)
        (row,) = build_rows("run", [result], conditions)
        assert row.mfu == pytest.approx(row.flops_per_s / measured)
        assert row.mfu_datasheet == (
            pytest.approx(row.flops_per_s / printed) if printed else None
        )
        assert row.device_memory_bytes == 7


@pytest.mark.parametrize(
    ("core", "rates", "peak"), [(1e9, (4e9, 2e9), 4e9), (5e9, (4e9, 2e9), 5e9)]
)
def test_the_best_product_of_a_run_is_the_peak_of_all(
    tmp_path: Path, launcher: FakeLauncher, core: float, rates: tuple[float, ...], peak: float
) -> None:
    """Or a framework whose library is faster than NumPy's would do more than is possible."""
    runner = _runner(tmp_path, launcher)
    runner.execute()
    results = runner.results[:2]
    for result, rate in zip(results, rates, strict=True):
        for records in result.good:
            for record in records:
                record.matmul_flops_s = rate
    blocks = [asdict(Block(0, [CoreRate("cpu0", core, 1e9)]))]
    for result, rate, row in zip(results, rates, build_rows("run", results, Conditions(blocks)),
                                 strict=True):
        assert row.matmul_flops_s == rate
        assert row.mfu == pytest.approx(row.flops_per_s / result.case.devices / peak)


@pytest.mark.parametrize("fits", [True, False])
def test_a_gpu_is_held_against_a_gpu_that_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    """In float64 and sample by sample; a core takes its place where it cannot."""
    for build in (torch_build, tensorflow_build):
        monkeypatch.setattr(build, "has_cuda", lambda: True)

    class SmallGpu(FakeLauncher):
        def __call__(self, request: LaunchRequest) -> Outcome:
            case, outcome = request.case, super().__call__(request)
            refused = case.dtype == "float64" and case.device == "cuda" and not fits
            return Outcome("oom", "planted", 0.1, []) if refused else outcome

    launcher = SmallGpu()
    cases = [replace(case, device="cuda") for case in _cases()[:2]]
    runner = _runner(tmp_path, launcher, cases=cases, repeats=1)
    runner.execute()
    made = [case for folder, case in zip(launcher.folders, launcher.cases, strict=True)
            if folder.parent.name.startswith("reference.")]
    gpu = ("cuda", cases[0].spec.global_batch)
    assert [(case.device, case.statistics_groups) for case in made] == (
        [gpu] if fits else [gpu, ("cpu", 1)])
    assert {case.dtype for case in made} == {"float64"}
    assert [row.parity for row in runner.finish("complete")] == ["ok", "ok"]


def test_leaders_get_further_blocks_and_losers_none(
    tmp_path: Path, launcher: FakeLauncher
) -> None:
    """Two alike and eight that take three times as long; the two are launched to the limit."""
    common = ("mlp", "tiny", "synthetic", "cpu")
    cases = [Case("pytorch", "torch", "data", variant, *common, 2) for variant in "abcdefghij"]
    launcher.noise = {case.case_id: 0.02 for case in cases}
    launcher.speed = {case.case_id: 3.0 for case in cases[2:]} | {cases[1].case_id: 1.06}
    launcher.noise[cases[1].case_id] = 0.08
    runner = _runner(tmp_path, launcher, cases=cases, leader_repeats=5)
    runner.execute()
    rows = runner.finish("complete")
    assert [row.repeats for row in rows] == [5, 5, *[3] * 8]
    assert runner.run["plan"][3:] == [[case.case_id for case in cases[:2]]] * 2
    assert [row.launch_s for row in rows] == [0.1] * 10


@pytest.mark.parametrize(("budget", "blocks"), [(None, range(4, 21)), (100.0, [3])])
def test_no_leader_is_launched_past_the_budget(
    tmp_path: Path, launcher: FakeLauncher, budget: float | None, blocks: Any
) -> None:
    launcher.seconds = 10.0
    launcher.noise = {case.case_id: 0.1 for case in _cases()}
    launcher.speed = {_cases()[1].case_id: 1.3}
    runner = _runner(tmp_path, launcher, repeats=3, leader_repeats=20, budget=budget)
    runner.execute()
    assert len(runner.blocks) in blocks


def test_a_run_of_very_many_cases_writes_its_tables_at_the_end_of_a_block(
    tmp_path: Path, launcher: FakeLauncher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once writing takes too much of the run; what was launched is stored all the same."""
    monkeypatch.setattr("suite.measure.harness_time.SAVING_AT_MOST", (0.0, 0.0))
    runner = _runner(tmp_path, launcher, repeats=2)
    saved: list[int] = []
    original = runner._save

    def counted() -> Any:
        saved.append(len(launcher.started))
        return original()

    runner._save = counted  # type: ignore[method-assign]
    runner.execute()
    assert len(runner.finish("complete")) == 3
    # Before the reference, after each block of three, when it stops, and at the end.
    assert saved == [0, 4, 7, 7, 7]
    assert read_run(tmp_path).rows()[0].repeats == 2
