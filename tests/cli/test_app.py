"""The command line as a user meets it: real processes, messages, exit codes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from suite.cli.app import app
from suite.cli.console import live, print_rows
from suite.measure.progress import Progress
from tests.command import suite_command
from tests.planted_run import small_run

OPTIONS = {
    "--leader-repeats", "--profile-harness", "--launcher", "--hosts",
    "--proof-timeout", "--proof-memory", "--start", "--cut", "--finalists",
    "--preset", "--config", "--framework", "--strategy", "--variant", "--workload", "--size",
    "--data", "--devices", "--scaling", "--device", "--dtype", "--mode", "--steps", "--repeats",
    "--seed", "--accumulate", "--recompute", "--padded", "--balance", "--timeout", "--python",
    "--link", "--out", "--transport",
    "--warmup", "--precision", "--budget", "--probes",
    "--probe-steps", "--probe-precision", "--timeline", "--resume", "--dry-run",
    "--quiet", "--json", "--mesh", "--device-speeds", "--batch", "--find-max-batch",
    "--memory-limit", "--batch-resolution", "--oversubscribe",
}
OTHER_OPTIONS = {
    "report": {"run", "--from-records", "--export-pytest-benchmark", "--profile-harness",
               "--quiet", "--json"},
    "compare": {"runs", "--metric", "--fail-on", "--each-alone", "--json", "--markdown", "--html"},
    "history": {"folder", "--json", "--html"},
    "doctor": {"--json"},
    "list": set(),
}


def _suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "suite", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['suite', '--help']\n"
        "from suite.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "names = 'torch tensorflow horovod pandas numpy scipy keras'\n"
        "heavy = set(names.split()) & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    print(f"--help: {time.perf_counter() - began:.2f} s")
    assert done.returncode == 0, done.stderr


def test_options_are_frozen() -> None:
    import typer

    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    assert {option for p in command.params for option in p.opts} == OPTIONS


@pytest.mark.parametrize(
    ("shell", "line"),
    [("bash", "complete -o default -F _suite_completion suite"), ("zsh", "#compdef suite"),
     ("fish", "complete --command suite")],
)
def test_completion_script_completes_the_installed_command(shell: str, line: str) -> None:
    """Named, so that no shell has to be among the parents: a job has none."""
    command = [sys.executable, "-m", "suite", "--show-completion", shell]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          start_new_session=True, env=os.environ | {"SHELL": ""}, check=False)
    assert done.returncode == 0 and line in done.stdout, done.stdout + done.stderr
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert '[project.scripts]\nsuite = "suite.cli.app:main"' in text


@pytest.mark.parametrize("name", list(OTHER_OPTIONS))
def test_options_of_other_commands_are_frozen(name: str) -> None:
    import typer

    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert {option for p in command.params for option in p.opts} == OTHER_OPTIONS[name]


@pytest.mark.parametrize(
    ("arguments", "typed", "expected"),
    [
        ("run --framework", "py", ["pytorch"]),
        ("run --framework", "pytorch,ten", ["pytorch,tensorflow"]),
        ("run --strategy", "int", ["intra_layer", "inter_layer", "intra_layer+inter_layer"]),
        ("run --preset", "s", ["smoke", "standard"]),
        ("run --size", "gpt3", ["gpt3-xl", "gpt3-6.7b"]),
        ("compare a b --metric", "peak", ["peak_memory"]),
        ("report", "results/s", ["results/sample"]),
    ],
)
def test_completion_knows_the_names(arguments: str, typed: str, expected: list[str]) -> None:
    words = f"suite {arguments} {typed}"
    done = subprocess.run(
        [sys.executable, "-m", "suite"], capture_output=True, text=True, check=False,
        env=os.environ | {"_SUITE_COMPLETE": "complete_bash", "COMP_WORDS": words,
                          "COMP_CWORD": str(len(words.split()) - 1)},
    )
    assert done.stdout.split() == expected, done.stderr


def test_output_for_people_scripts_and_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = small_run().rows()
    print_rows(rows, tmp_path, "quiet")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[2] == f"{tmp_path}/report.html"
    assert lines[0].startswith("gpt small, global batch 8, 2 cpu devices: pytorch data has")
    print_rows(rows, tmp_path, "json")
    found = json.loads(capsys.readouterr().out)
    assert [row["case_id"] for row in found["rows"]] == [row.case_id for row in rows]
    assert found["verdicts"] == lines[:2] and found["page"] == lines[2]
    print_rows(rows, tmp_path)
    shown = capsys.readouterr().out
    assert "T_comm" in shown and lines[2] in shown and "\x1b" not in shown


def test_a_quiet_run_tells_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        with live(Console(stderr=True, quiet=quiet)) as show:
            show(Progress("a launch", 0, 2, None))
        assert ("a launch" in capsys.readouterr().err) is not quiet


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--framework", "jax"], "'jax', expected one of pytorch"),
        (["--workload", "vgg"], "'vgg', expected one of mlp"),
        (["--size", "huge"], "size of mlp: got 'huge'"),
        (["--strategy", "magic"], "'magic', expected one of single"),
        (["--variant", "zigzag"], "'zigzag', expected one of default, fsdp, zero1, zero2, fp16"),
        (["--preset", "fast"], "'fast', expected one of smoke"),
        (["--devices", "0"], "greater than or equal to 1"),
        (["--devices", "-1"], "greater than or equal to 1"),
        (["--devices", "7"], "devices for mlp wide"),
        (["--accumulate", "0"], "greater than or equal to 1"),
        (["--accumulate", "3"], "accumulate for mlp wide, single: got 3"),
        (["--strategy", "data", "--accumulate", "128"], "a divisor of the 64 samples of a device"),
        (["--strategy", "inter_layer", "--variant", "naive", "--accumulate", "2"],
         "1: naive has one micro-batch a step"),
        (["--devices", "2,x"], "option devices: got 'x', expected a valid integer"),
        (["--devices", "2,0"], "option devices: got 0"),
        (["--devices", "7,9"], "devices for mlp wide"),
        (["--devices", ""], "comma-separated names"),
        (["--framework", ","], "leave the option out"),
        (["--device", "cuda"], "--device"),
        (["--device", "tpu"], "'tpu'"),
        (["--steps", "0"], "option steps"),
        (["--warmup", "5"], "greater than or equal to 20"),
        (["--precision", "narrow"], "'narrow', expected a share such as 3% or 0.03"),
        (["--precision", "300%"], "less than 1"),
        (["--budget", "soon"], "'soon', expected a duration such as 90s, 20m or 1.5h"),
        (["--budget", "0s"], "greater than 0"),
        (["--data", "nowhere.npz"], "nowhere.npz"),
        (["--python", "horovod=/no/such/python"], "--python"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_bad_usage_is_one_clear_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = suite_command("run", *arguments, "--out", str(tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    assert words in done.stderr and "Fix:" in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stepz = 3", "'stepz', expected one of framework"),
        ('steps = "many"', "option steps: got 'many'"),
        ("steps = = 3", "valid TOML"),
        ("\ufeff\udcff", "UTF-8 text"),
        ("devices = []", "option devices"),
        ("devices = [2, 0]", "option devices: got 0"),
        ("[python]\nhorovod = 3", "option python.horovod: got 3"),
        ('framework = {a = "pytorch"}', "option framework"),
    ],
)
def test_bad_configuration(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "suite.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    done = suite_command("run", "--config", str(file), "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_unwritable_out_keeps_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    done = _suite("run", "--out", str(file))
    assert done.returncode == 2 and "--out" in done.stderr, done.stderr
    assert file.read_text() == "precious"


SAMPLE = Path(__file__).parents[2] / "results" / "sample"
TWO = [str(SAMPLE), str(SAMPLE)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "nowhere"], "a run folder with run.json"),
        (["report", "{cut}"], "valid JSON"),
        (["report", "{list}"], "a JSON object"),
        (["report", "{strange}"], "expected a valid list"),
        (["report", "{empty}"], "a run with cases"),
        (["compare", str(SAMPLE)], "two runs or more"),
        (["compare", str(SAMPLE), "{cut}"], "valid JSON"),
        (["compare", *TWO, "--fail-on", "step_time"], "--fail-on: got 'step_time'"),
        (["compare", *TWO, "--fail-on", "speed:5%"], "got 'speed', expected one of step_time"),
        (["compare", *TWO, "--markdown", "{file}/x.md"], "--markdown"),
        (["compare", *TWO, "--html", "{file}/x.html"], "--html"),
        (["history", "nowhere"], "a folder with runs"),
        (["run", "--resume", "{cut}"], "valid JSON"),
        (["link", "--devices", "1"], "greater than or equal to 2"),
        (["link", "--bytes-max", "3X"], "16MiB"),
    ],
)
def test_bad_folders_and_files_end_with_two(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    places = _bad_folders(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = suite_command(*(one.format(**places) for one in arguments))
    assert done.returncode == 2 and words in done.stderr, done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: text for path, text in after.items() if path.name != ".lock"} == before


def _bad_folders(place: Path) -> dict[str, str]:
    """Cut off, no object, no list of cases, no case at all; and a file where a folder is meant."""
    whole = (SAMPLE / "run.json").read_text()
    run = json.loads(whole)
    contents = {"cut": whole[:300], "list": "[1]", "empty": json.dumps(run | {"cases": []}),
                "strange": json.dumps(run | {"cases": "none"})}
    for name, text in contents.items():
        (place / name).mkdir()
        (place / name / "run.json").write_text(text)
    (place / "file").write_text("precious")
    return {name: str(place / name) for name in (*contents, "file")}


def test_list_and_doctor_name_everything() -> None:
    listed = _suite("list")
    assert listed.returncode == 0
    for name in ("pytorch", "horovod", "inter_layer", "gpt3-xl", "quick"):
        assert name in listed.stdout
    doctor = _suite("doctor", "--json")
    assert doctor.returncode == 0 and '"cores"' in doctor.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_can_be_read(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "suite", "run", "--preset", "smoke", "--framework", "pytorch"]
    process = subprocess.Popen(
        [*command, "--no-link", "--repeats", "5", "--out", str(tmp_path)], stderr=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )
    assert process.stderr
    for line in process.stderr:
        if line.startswith("[2/"):
            break
    time.sleep(1.0)
    process.send_signal(number)
    shown, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in errors
    folder = next(tmp_path.iterdir())
    with (folder / "results.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    # As many as were told of; within the second a third one may have ended, and be told of or not.
    told = int(([2, *re.findall(r"^\[(\d+)/", errors, re.MULTILINE)])[-1])
    assert sum(int(row["repeats"]) for row in rows) in (told, told + 1) and "pytorch" in shown
    assert json.loads((folder / "run.json").read_text())["state"] == "interrupted"
    mine = [p for p in psutil.process_iter(["cmdline"]) if str(folder) in str(p.info["cmdline"])]
    assert not mine


def _run_with(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "suite", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False,
                          env=os.environ | environment)


def test_a_terminal_without_our_characters_still_shows_the_table() -> None:
    for encoding in ("ascii", "latin-1"):
        done = _run_with({"PYTHONIOENCODING": encoding}, "list")
        assert done.returncode == 0 and "pytorch" in done.stdout, done.stderr


def test_files_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "sample")
    done = _run_with({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
                     "report", str(tmp_path / "sample"))
    assert done.returncode == 0, done.stderr
    assert "\u00b7" in (tmp_path / "sample" / "report.html").read_text(encoding="utf-8")


def test_a_reader_that_goes_ends_a_command_as_tools_end(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "sample")
    report = f"{sys.executable} -m suite report {tmp_path / 'sample'}"
    command = f"{report} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] in ("141", "0") and "rror" not in done.stderr, done


def test_an_empty_folder_name_is_refused() -> None:
    done = _suite("run", "--out", "", "--dry-run")
    assert done.returncode == 2 and "--out" in done.stderr and "Fix:" in done.stderr


def test_a_plan_refuses_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = suite_command("run", "--dry-run", "--out", str(tmp_path / "file" / "runs"))
    assert done.returncode == 2 and "--out" in done.stderr and "writable folder" in done.stderr


@pytest.mark.parametrize("content", [
    "no json", "[]", '{"cases": 3}', '{"cases": [{"case": {"framework": "x"}}]}',
    '{"cases": [{"case": {"of_a_later_release": 1}}]}', '{"cases": [{}]}',
])
def test_a_plan_passes_over_run_folders_of_other_releases(tmp_path: Path, content: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(content)
    done = suite_command("run", "--dry-run", "--framework", "pytorch", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_sighup_ends_a_run_in_order(tmp_path: Path) -> None:
    """A closed terminal: what had finished stays, and the way to go on is said."""
    command = [sys.executable, "-m", "tests.fake_harness", "run", "--workload", "mlp", "--size",
               "tiny", "--data", "synthetic", "--strategy", "single,data", "--repeats", "30",
               "--steps", "3", "--warmup", "20", "--no-link", "--out", str(tmp_path)]
    harness = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*/results.csv")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    harness.send_signal(signal.SIGHUP)
    _, error = harness.communicate(timeout=60)
    assert harness.returncode == 130 and "--resume" in error, error
    (run,) = tmp_path.glob("*/run.json")
    assert json.loads(run.read_text())["state"] == "interrupted"
