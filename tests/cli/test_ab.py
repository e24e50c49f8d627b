"""What may be typed for the two sides, what is refused, and how the command ends."""

from __future__ import annotations

import errno
import json
import shlex
import sys
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from suite.analysis.deciding import WIDE
from suite.cli.ab import compare_sides, report_again
from suite.cli.sides import parse_side
from suite.config.sides import resolve_sides
from suite.contract.errors import UsageError
from suite.measure import runner
from suite.runfolder import files
from suite.runfolder.reading import read_run
from tests.command import suite_command
from tests.measure.test_ab import COMMON, TwoSided
from tests.synthetic import DATA, Still, make_run

TYPED = ["--framework", "pytorch", "--strategy", "data", "--size", "tiny", "--data", "synthetic",
         "--probes", "0"]


def test_settings_come_first_and_options_of_a_case_after() -> None:
    options = f"--variant fp16 --accumulate 2 --python pytorch={sys.executable}"
    found = parse_side("--a", f"NCCL_ALGO=Ring B='x y' C= {options}")
    assert found.settings == {"NCCL_ALGO": "Ring", "B": "x y", "C": ""}
    assert found.options == {"variant": ["fp16"], "accumulate": ["2"],
                             "python": {"pytorch": sys.executable}}
    assert not parse_side("--b", "").settings and not parse_side("--b", " ").options


@pytest.mark.parametrize(("text", "words"), [
    ("--steps 3", "No such option: --steps"), ("--repeats 9", "options that describe a case"),
    ("--variant", "requires an argument"), ("fp16", "unexpected extra argument"),
    ("--variant fp16 A=1", "unexpected extra argument"), ("A='1", "close the quotes"),
    ("--python pytorch=/nowhere", "existing interpreter"), ("--dtype ,", "comma-separated"),
])
def test_what_describes_no_case_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_side("--b", text)


def _resolved(a: str, b: str, **options: Any) -> Any:
    return resolve_sides(COMMON | options, parse_side("--a", a), parse_side("--b", b), 0)


def test_a_side_overrides_what_both_have() -> None:
    _, a, b = _resolved("", "--variant fp16 --accumulate 2", accumulate=["4"])
    assert (a.case.variant, a.case.accumulate) == ("", 4)
    assert (b.case.variant, b.case.accumulate) == ("fp16", 2)
    _, a, b = _resolved("", "--framework tensorflow")
    assert (a.case.framework, b.case.framework) == ("pytorch", "tensorflow")
    _, a, b = _resolved("", "--framework horovod --engine torch")
    assert (b.case.framework, b.case.engine) == ("horovod", "torch")


def test_only_equal_sides_are_the_same() -> None:
    assert _resolved("", "")[1].same_as(_resolved("", "")[2])
    for other in ("X=1", "--mode compiled", f"--python pytorch={sys.executable}"):
        _, a, b = _resolved("", other)
        assert not a.same_as(b)


@pytest.mark.parametrize(("b", "options", "words"), [
    ("", {"strategy": ["single", "data"]}, "2 .*single.*data.*narrow --strategy"),
    ("--framework horovod", {}, "side B: cases: .*narrow --engine"),
    ("--dtype float32,bf16", {}, "side B: cases: .*narrow --dtype"),
    ("--engine numpy", {}, "side B: --engine"), ("--variant fp17", {}, "side B: --variant"),
    ("--workload gpt", {}, "--workload: .*the same work in both"),
    ("--size wide", {}, "--size: "), ("--batch 32", {}, "--batch: got '64 in A, 32 in B'"),
    ("--data real", {}, "--data: "), ("PYTHONPATH=/x", {}, "side B: setting: .*PYTHONPATH"),
    ("SUITE_STEPS=3", {}, "side B: setting: .*SUITE_STEPS"), ("", {"repeats": 5}, "repeats"),
    ("", {"precision": "2"}, "precision"),
])
def test_what_is_not_two_cases_of_the_same_work_is_refused(
    b: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        _resolved("", b, **options)


def test_a_rule_may_take_as_many_blocks_as_it_needs() -> None:
    assert _resolved("", "")[0].repeats == 12
    assert _resolved("", "", precision="2%")[0].repeats == 30
    assert _resolved("", "", budget="9m", repeats=8)[0].repeats == 8


def test_bad_input_ends_with_2_and_writes_nothing(tmp_path: Path) -> None:
    for sides in (["--a", "", "--b", "--steps 3"], ["--a", ""],
                  ["--a", "", "--b", "", "--fail-on", "time:5%"]):
        done = suite_command("ab", *TYPED, *sides, "--out", str(tmp_path / "out"))
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> TwoSided:
    """The command's launcher, with B 20 % slower."""
    launcher = TwoSided(1.2)
    monkeypatch.setattr(runner, "Calibration", lambda cores: Still())
    monkeypatch.setattr("suite.cli.ab.launching", lambda *_: nullcontext(launcher))
    return launcher


def _typed(out: Path, *more: str) -> Any:
    return suite_command("ab", *TYPED, "--a", "", "--b", "X=1", "--out", str(out), *more)


def test_the_answer_the_table_and_the_exit_code(tmp_path: Path, planted: TwoSided) -> None:
    done = _typed(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "B is slower: its step takes 1." in done.stdout
    assert "environment X: not set against 1" in done.stdout
    (folder,) = tmp_path.iterdir()
    assert f"{folder}/ab.csv" in done.stdout
    assert read_run(folder / "a").rows()[0].repeats == read_run(folder / "b").rows()[0].repeats
    again = suite_command("report", str(folder))
    assert again.returncode == 0 and again.stdout == done.stdout
    with pytest.raises(UsageError, match="name a side"):
        read_run(folder)
    refused = suite_command("run", "--resume", str(folder / "a"))
    assert refused.returncode == 2 and "one side of an A/B run" in refused.stderr


@pytest.mark.parametrize(("path", "value"), [
    (("sides",), None), (("sides", "a", "settings"), []), (("sides", "b", "case"), {}),
    (("sides", "a", "failed"), "x"), (("differences",), float("nan")), (("run_id",), 1e308),
    (("sides", "a", "case", "devices"), 10**400), (("same",), "perhaps"),
])
def test_a_file_that_no_run_wrote_so_is_refused(
    tmp_path: Path, planted: TwoSided, path: tuple[str, ...], value: Any
) -> None:
    _typed(tmp_path)
    (folder,) = tmp_path.iterdir()
    content = place = json.loads((folder / "run.json").read_text())
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    (folder / "run.json").write_text(json.dumps(content))
    done = suite_command("report", str(folder))
    if done.returncode:
        assert done.returncode == 2 and ".".join(path) in done.stderr, done.stderr
    else:
        assert path == ("run_id",)  # a number can be shown as a name


def test_a_side_keeps_no_secret(tmp_path: Path, planted: TwoSided) -> None:
    done = suite_command("ab", *TYPED, "--a", "", "--b", "HF_TOKEN=s3cr3t-Value9",
                         "--out", str(tmp_path))
    assert done.returncode == 0 and "HF_TOKEN: not set against ***" in done.stdout, done.stderr
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert b"s3cr3t-Value9" not in file.read_bytes(), file


def test_json_and_a_limit(tmp_path: Path, planted: TwoSided) -> None:
    done = _typed(tmp_path, "--json", "--fail-on", "step_time:5%")
    assert done.returncode == 3 and "Regression: step_time +" in done.stderr
    found = json.loads(done.stdout)
    assert found["rows"][0]["metric"] == "step_time" and found["rows"][0]["verdict"] == "slower"
    assert found["sides"]["b"]["settings"] == {"X": "1"} and not found["same"]
    assert _typed(tmp_path, "--fail-on", "step_time:50%").returncode == 0


def test_a_refused_side_ends_with_1_and_its_reason(tmp_path: Path, planted: TwoSided) -> None:
    planted.plant[DATA.case_id] = 1.01
    done = _typed(tmp_path)
    assert done.returncode == 1 and "A refused: differs from" in done.stdout, done.stdout


def test_an_interruption_ends_with_130_and_keeps(tmp_path: Path, planted: TwoSided) -> None:
    planted.interrupt = ("a", 3)
    done = _typed(tmp_path, "--precision", "0.01%")
    (folder,) = tmp_path.iterdir()
    assert done.returncode == 130 and str(folder) in done.stderr
    assert "over 3 blocks that hold both" in done.stdout
    assert report_again(folder, as_json=True) == 0


def test_compare_says_what_would_decide_a_wide_tie(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        make_run(tmp_path / name, seed=seed, launch_noise=0.1, link=False)
    done = suite_command("compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json")
    found = {one["case_id"]: one for one in json.loads(done.stdout)[0]["undecided"]}
    assert found[DATA.case_id]["reach"] > WIDE and found[DATA.case_id]["metrics"] == ["step_time"]
    shown = suite_command("compare", str(tmp_path / "a"), str(tmp_path / "b")).stdout
    command = found[DATA.case_id]["command"]
    assert command in shown and command.startswith("python -m suite ab --framework pytorch")
    # What it prints can be typed: it stands for the case that is asked about.
    typed = suite_command(*shlex.split(command)[3:], "--repeats", "3", folder=tmp_path)
    assert "greater than or equal to 6" in typed.stderr and typed.returncode == 2


def test_the_command_names_interpreters_that_differ(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        folder = tmp_path / name
        make_run(folder, seed=seed, launch_noise=0.1, link=False)
        run = json.loads((folder / "run.json").read_text())
        run["environment"]["interpreter"] = f"/opt/{name}/bin/python"
        (folder / "run.json").write_text(json.dumps(run))
    done = suite_command("compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json")
    command = json.loads(done.stdout)[0]["undecided"][0]["command"]
    assert command.endswith("--a '--python pytorch=/opt/a/bin/python' "
                            "--b '--python pytorch=/opt/b/bin/python'")


def test_a_narrow_tie_needs_nothing_more(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        make_run(tmp_path / name, seed=seed, launch_noise=0.005, link=False)
    done = suite_command("compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json")
    assert json.loads(done.stdout)[0]["undecided"] == []


def test_out_must_be_writable(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UsageError, match="--out"):
        compare_sides(("", ""), COMMON, [], blocked)


def test_a_full_disk_costs_no_block_that_had_finished(
    tmp_path: Path, planted: TwoSided, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, kept = count(), files.write_table

    def write(path: Path, *rest: Any) -> None:
        if path.name == "ab.csv" and next(written) >= 10:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        kept(path, *rest)

    monkeypatch.setattr(files, "write_table", write)
    done = _typed(tmp_path, "--precision", "0.01%")
    assert done.returncode == 1 and "No space left on device" in done.stderr
    assert "not everything is in " in done.stderr and "Traceback" not in done.stderr
    assert "blocks that hold both" in done.stdout
