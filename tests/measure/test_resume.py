"""A run that was cut off anywhere, gone on with, is the run that was never cut off."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.contract.errors import UsageError
from suite.measure.resume import reopen
from suite.measure.runner import Runner
from suite.runfolder.reading import read_run
from tests.synthetic import CASES, DATA, Planted, Still, start_run

HARNESS = [sys.executable, "-m", "tests.fake_harness"]
RUN = ["run", "--workload", "mlp", "--size", "tiny", "--data", "synthetic", "--strategy",
       "single,data", "--steps", "3", "--repeats", "3", "--leader-repeats", "0", "--warmup", "20",
       "--no-link"]
LAUNCHES = 6


def _harness(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*HARNESS, *arguments], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def _wait_for_run(out: Path) -> None:
    deadline = time.monotonic() + 30
    while not list(out.glob("*/run.json")):
        assert time.monotonic() < deadline, "no run folder"
        time.sleep(0.01)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def _shape(folder: Path) -> Any:
    """What an interruption must not change: rows, launches, steps, losses, files."""
    steps = [tuple(row[name] for name in ("case_id", "launch", "rank", "step", "pass"))
             for row in _table(folder / "steps.csv")]
    assert len(steps) == len(set(steps))
    names = ("case_id", "status", "repeats", "parity", "stopped")
    rows = [tuple(r[name] for name in names)
            for r in _table(folder / "results.csv")]
    losses = [(r["case_id"], r["step"]) for r in _table(folder / "losses.csv")]
    outcomes = sorted(str(p.relative_to(folder)) for p in folder.glob("cases/*/*/outcome.json"))
    return rows, sorted(steps), sorted(losses), outcomes


def _records(folder: Path) -> dict[str, str]:
    """Raw records of launches that count as finished."""
    return {str(p.relative_to(folder)): p.read_text()
            for outcome in folder.glob("cases/*/*/outcome.json")
            for p in outcome.parent.glob("rank-*.json")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The shape of an uninterrupted run, and how long it took once it had a folder."""
    out = tmp_path_factory.mktemp("whole")
    process = _harness(*RUN, "--out", str(out))
    _wait_for_run(out)
    began = time.monotonic()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    shape = _shape(next(out.iterdir()))
    assert len(shape[3]) == LAUNCHES
    return shape, time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGKILL])
def test_cut_off_at_a_random_moment(
    tmp_path: Path, whole: Any, number: signal.Signals
) -> None:
    shape, seconds = whole
    moment = random.SystemRandom().uniform(0.0, 0.9) * seconds
    process = _harness(*RUN, "--out", str(tmp_path))
    _wait_for_run(tmp_path)
    time.sleep(moment)
    process.send_signal(number)
    process.communicate(timeout=30)
    print(f"{number.name} after {moment:.2f} of {seconds:.2f} s")
    folders = list(tmp_path.iterdir())
    before = _records(folders[0])
    again = _harness("run", "--resume", str(folders[0]))
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert _shape(folders[0]) == shape
    after = _records(folders[0])
    assert {name: after[name] for name in before} == before
    assert json.loads((folders[0] / "run.json").read_text())["state"] == "complete"
    # Only the one folder, and what a resume needed is gone.
    assert list(tmp_path.iterdir()) == folders and not list(folders[0].glob("cases/*/*/parity.npz"))


def test_two_harnesses_keep_out_of_each_others_folder(tmp_path: Path) -> None:
    # Longer than the second one takes to start.
    process = _harness(*RUN, "--repeats", "100", "--out", str(tmp_path))
    _wait_for_run(tmp_path)
    folder = next(tmp_path.iterdir())
    second = _harness("run", "--resume", str(folder))
    _, errors = second.communicate(timeout=30)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert second.returncode == 2 and "no other process at work in it" in errors, errors


def _interrupted(folder: Path, after: int, **options: Any) -> Planted:
    launcher = Planted({}, 0)

    def stop(count: int) -> None:
        if count == after:
            raise KeyboardInterrupt

    launcher.before = stop
    runner = start_run(folder, launcher, repeats=4, **options)
    with pytest.raises(KeyboardInterrupt):
        runner.execute()
    runner.finish("interrupted")
    return launcher


def _go_on(folder: Path) -> tuple[Planted, list[dict[str, Any]]]:
    config, earlier = reopen(folder, {})
    launcher = Planted({}, 1)
    runner = Runner(config, [], folder, lambda event: None, launcher,
                    calibrate=Still(), earlier=earlier)  # type: ignore[arg-type]
    runner.execute()
    return launcher, runner.finish("complete")


@pytest.mark.parametrize("after", range(9))
def test_every_launch_once_wherever_it_stopped(tmp_path: Path, after: int) -> None:
    folder = tmp_path / "run"
    first = _interrupted(folder, after)
    second, rows = _go_on(folder)
    cases = [one for one in first.started + second.started if "launch" in one[1]]
    wanted = [(case.case_id, f"launch-{block}") for case in CASES for block in range(4)]
    assert sorted(cases) == sorted(wanted)
    # The reference is kept: no more than the one launch that was cut off is repeated.
    assert sum(name == "float64" for _, name in first.started + second.started) == 1
    assert [row.repeats for row in rows] == [4, 4] and rows[1].speedup


def test_what_failed_runs_again_and_the_rest_does_not(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    launcher = Planted({}, 0)
    launcher.failing = {DATA.case_id}
    runner = start_run(folder, launcher, repeats=3)
    runner.execute()
    rows = runner.finish("complete")
    assert [row.status for row in rows] == ["ok", "failed"]
    second, rows = _go_on(folder)
    assert [one for one in second.started if "launch" in one[1]] == [
        (DATA.case_id, f"launch-{block}") for block in range(3)
    ]
    assert [(row.status, row.repeats) for row in rows] == [("ok", 3), ("ok", 3)]
    shape = _shape(folder)
    assert len(shape[3]) == 6


def test_unproven_launches_run_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    launcher = Planted({}, 0)
    runner = start_run(folder, launcher, repeats=2)
    runner.proofs.refer = lambda *cases: None  # type: ignore[method-assign]
    runner.execute()
    assert [row.status for row in runner.finish("complete")] == ["refused", "refused"]
    _, rows = _go_on(folder)
    assert [(row.status, row.repeats, row.parity) for row in rows] == [("ok", 2, "ok")] * 2
    _shape(folder)


def test_a_complete_run_has_nothing_left(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    runner = start_run(folder, Planted({}, 0), repeats=2)
    runner.execute()
    before = runner.finish("complete")
    second, rows = _go_on(folder)
    assert second.started == []  # not even a reference
    assert [row.step_time_s for row in rows] == [row.step_time_s for row in before]


def test_steps_of_a_launch_cut_in_half_are_mended(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    _interrupted(folder, 5)
    with (folder / "steps.csv").open("a") as stream:
        stream.write("pytorch.single.mlp-tiny.cpu1,9,0,0,cle")
    _go_on(folder)
    assert len(_table(folder / "steps.csv")) == len(list(read_steps(folder)))


def read_steps(folder: Path) -> Any:
    from suite.runfolder.samples import SampleStore

    storage = SampleStore(folder)
    yield from storage.steps()
    storage.close()


def test_budget_counts_earlier_sittings(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    _interrupted(folder, 5)
    run = json.loads((folder / "run.json").read_text())
    run["spent_s"] = 1e6
    run["configuration"]["budget"] = 10.0
    (folder / "run.json").write_text(json.dumps(run))
    _, rows = _go_on(folder)
    assert {row.stopped for row in rows} == {"budget"} and rows[0].repeats < 4


@pytest.mark.parametrize(
    ("options", "words"),
    [({"repeats": 9}, "--repeats: got 9, expected 4"), ({"steps": 5}, "drop the option"),
     ({"workload": ["gpt"]}, "--workload")],
)
def test_other_options_are_refused(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    _interrupted(tmp_path / "run", 3)
    with pytest.raises(UsageError, match=words):
        reopen(tmp_path / "run", options)
    assert reopen(tmp_path / "run", {"repeats": 4})[0].repeats == 4


def test_a_run_without_a_precision_of_probes_goes_on_without(tmp_path: Path) -> None:
    """A release before that option timed a number of steps; its launches stay alike."""
    _interrupted(tmp_path / "run", 3)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    del run["configuration"]["probe_precision"]
    for entry in run["cases"]:
        del entry["case"]["probe_precision"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    config, earlier = reopen(tmp_path / "run", {})
    assert config.probe_precision == 0
    assert {result.case.probe_precision for result in earlier.results} == {0}


def test_a_finished_run_goes_on_where_its_answer_is_open(tmp_path: Path) -> None:
    """As the line under the answer says: more launches of the leaders, none of the others."""
    near = replace(DATA, variant="near")
    cases = [DATA, near, *(replace(DATA, variant=f"slow{number}") for number in range(8))]
    seconds = {near.case_id: 0.0104} | {one.case_id: 0.05 for one in cases[2:]}
    start = start_run(tmp_path / "run", Planted(seconds, 3, launch_noise=0.03), cases, repeats=3)
    start.execute()
    before = start.finish("complete")
    config, earlier = reopen(tmp_path / "run", {"leader_repeats": 40})
    launcher = Planted(seconds, 4, launch_noise=0.03)
    runner = Runner(config, [], tmp_path / "run", lambda event: None, launcher,
                    calibrate=Still(), earlier=earlier)  # type: ignore[arg-type]
    runner.execute()
    rows = runner.finish("complete")
    assert {row.repeats for row in before} == {3} and {row.repeats for row in rows[2:]} == {3}
    assert rows[0].repeats == rows[1].repeats > 3
    assert read_run(tmp_path / "run").run["configuration"]["leader_repeats"] == 40


def test_another_machine_is_refused(tmp_path: Path) -> None:
    _interrupted(tmp_path / "run", 3)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    run["environment"]["versions"]["torch"] = "0.1"
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    with pytest.raises(UsageError, match="versions"):
        reopen(tmp_path / "run", {})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--preset", "smoke"], "--preset"), (["--out", "x"], "--out"), (["--dry-run"], "--dry-run")],
)
def test_nothing_beside_resume(tmp_path: Path, arguments: list[str], words: str) -> None:
    process = _harness("run", "--resume", str(tmp_path), *arguments)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2 and words in errors and "keeps its folder" in errors
    assert "Traceback" not in errors and not list(tmp_path.iterdir())


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    process = _harness("run", "--resume", str(tmp_path))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2 and "expected a run folder" in errors
