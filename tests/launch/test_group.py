"""Groups end as groups: real processes of the fake adapter, with planted faults."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from suite.contract.case import STARTS, Case
from suite.contract.records import read_launch, read_records
from suite.launch import group, processes
from suite.launch.failures import first_failure, out_of_memory
from suite.launch.group import LaunchRequest, Outcome, launch
from suite.launch.nurseries import Nurseries
from suite.launch.nursery import NURSERY
from suite.machine.topology import share_of_cores
from tests.conftest import EXTRA, HERE, Launch, launch_case, written


def _left(folder: Path) -> list[str]:
    """Processes of this launch, or the child a hanging rank starts."""
    return [" ".join(process.cmdline()) for process in _processes(folder)]


def _start_of(folder: Path) -> str:
    path = folder.parent / f"{folder.name}.case.json"
    return str(json.loads(path.read_text())["start"])


def _processes(folder: Path) -> list[psutil.Process]:
    """Other tests, beside this one, start the same: a child is known by what it inherited."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            line, own = " ".join(process.cmdline()), process.environ().get("FAKE_OWNER")
            mine = own == os.environ["FAKE_OWNER"]
            child = mine and "1234.5" in line
            fork = mine and NURSERY in line and NURSERY in " ".join(process.parent().cmdline())
            if child or fork or (str(folder) in line and "suite.ranks.train" in line):
                found.append(process)
    return found


@pytest.fixture(params=STARTS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Launch]:
    """Launches a case whose ranks are new processes, or forks."""
    forking = Nurseries()

    def run(case: Case, timeout_s: float = 120.0) -> tuple[Outcome, Path]:
        folder, case = tmp_path / case.case_id, replace(case, start=request.param)
        return launch_case(case, folder, timeout_s, launcher=forking), folder

    yield run
    forking.renew()


def test_records_of_every_rank(fake: Case, start: Launch) -> None:
    outcome, folder = start(fake)
    assert outcome.status == "ok", outcome.reason
    assert [record["rank"] for record in outcome.records] == [0, 1]
    assert len(outcome.records[0]["step_seconds"]) == fake.steps
    assert outcome.records[1]["losses"][3] == 0.5**3
    assert (folder / "parity.npz").exists() and not _left(folder)
    assert {record["ledger"]["start"] for record in outcome.records} == {_start_of(folder)}


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("crash", "failed", "ValueError: planted crash"),
        ("memory", "oom", "planted"),
        ("kill", "failed", "rank 1 in proof ended with signal SIGKILL"),
        ("helper", "failed", "helper ended with code 3"),
        ("threads", "failed", "in proof ended with code 1: suite.contract.asked.NotAsAsked: "
         "threads_per_device asked 1, found 2. Likely cause: a plugin or site hook"),
    ],
)
def test_a_dead_rank_ends_the_group_at_once(
    fake: Case, start: Launch, monkeypatch: pytest.MonkeyPatch, fault: str, status: str, words: str
) -> None:
    monkeypatch.setenv("FAKE_FAULT", fault)
    began = time.monotonic()
    outcome, folder = start(fake)
    assert (outcome.status, words in outcome.reason) == (status, True), outcome.reason
    assert time.monotonic() - began < 30 and not _left(folder)


@pytest.mark.parametrize("said", [
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "tensorflow.python.framework.errors_impl.InternalError: Failed copying input tensor from "
    "/job:localhost/…/device:CPU:0 to /job:localhost/…/device:GPU:0 in order to run _EagerConst: "
    "Dst tensor is not initialized.",
    "tensorflow.python.framework.errors_impl.ResourceExhaustedError: Out of memory while trying to "
    "allocate 17179869184 bytes.",
])
def test_gpus_that_are_full_are_told_in_many_words(said: str) -> None:
    assert out_of_memory(f"Traceback (most recent call last):\n{said}\n")
    assert not out_of_memory(GLOO) and not out_of_memory("ValueError: no memory of that name")


@pytest.mark.parametrize(("cores", "processes", "shares"), [
    ([4, 5], 2, [[4], [5]]), ([4, 5], 1, [[4, 5]]), ([4], 2, [[4], [4]]),
    ([0, 1, 2, 3, 4], 2, [[0, 1], [2, 3]]),
])
def test_ranks_have_equal_shares_of_the_cores(
    cores: list[int], processes: int, shares: list[list[int]]
) -> None:
    """A CPU device is one; ranks of GPUs share what there is."""
    assert [share_of_cores(cores, rank, processes) for rank in range(processes)] == shares


GLOO, OWN = "RuntimeError: Connection closed by peer", "ValueError: planted"


@pytest.mark.parametrize(
    ("codes", "raised", "said"),
    [
        # Both have ended when the harness looks, and the one that lost the other speaks last.
        ([1, 1], {0: (2.0, GLOO), 1: (1.0, OWN)}, f"rank 1 ended with code 1: {OWN}"),
        ([1, 1], {0: (1.0, OWN), 1: (2.0, GLOO)}, f"rank 0 ended with code 1: {OWN}"),
        # The rank that failed is still going down.
        ([1, None], {0: (2.0, GLOO), 1: (1.0, OWN)}, f"rank 1 failed: {OWN}"),
        ([1, None], {0: (2.0, OWN)}, f"rank 0 ended with code 1: {OWN}"),
        # A rank that was killed has no words, and the other's are not its own.
        ([1, -9], {0: (2.0, GLOO)}, "rank 1 ended with signal SIGKILL"),
        # A framework's threads abort a rank that lost another.
        ([-6, 1], {1: (1.0, OWN)}, f"rank 1 ended with code 1: {OWN}"),
        # Nobody left a record: the log is all there is.
        ([None, 3], {}, "rank 1 ended with code 3: OSError: from the log"),
    ],
)
def test_the_first_failure_is_the_reason(
    tmp_path: Path, codes: list[int | None], raised: dict[int, tuple[float, str]], said: str
) -> None:
    (tmp_path / "worker.log").write_text("Traceback:\nOSError: from the log\n")
    for rank, (when, words) in raised.items():
        failure = {"raised_at_s": when, "error": words}
        (tmp_path / f"failure-{rank}.json").write_text(json.dumps(failure))
    assert first_failure(codes, tmp_path) == said


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("leave", "rank 1 in proof ended with code 0 and left no record"),
        ("flood", "rank 1 in proof wrote most of more than 1 MiB of log"),
        ("flood-on", "rank 1 in proof wrote most of more than 1 MiB of log"),
        ("truncated", "rank-1.json is no whole JSON"),
        ("version", "rank-1.json is of version 999"),
        ("grandchild", "planted: with a grandchild"),
    ],
)
def test_what_a_rank_leaves_undone_is_its_launchs_failure(
    fake: Case, start: Launch, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    """A grandchild in a session of its own that ignores SIGTERM is ended too."""
    monkeypatch.setenv("FAKE_FAULT", fault)
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 1 << 20)
    began = time.monotonic()
    outcome, folder = start(fake)
    assert (outcome.status, words in outcome.reason) == ("failed", True), outcome.reason
    assert time.monotonic() - began < 15 and not _left(folder)
    # Also of a rank that ignores SIGTERM.
    assert (folder / "worker.log").stat().st_size <= 1 << 20


def test_a_stopped_rank_is_named_with_the_phase_it_was_in(
    fake: Case, start: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "stop")
    began = time.monotonic()
    outcome, folder = start(fake, 3.0)
    assert outcome.status == "timeout", outcome.reason
    # It could say where only once it went on again, so that may be a line further.
    assert "rank 1 in proof, stopped by a signal (" in outcome.reason
    assert "train.py" in (folder / "worker.log").read_text().rpartition("rank 1 in proof")[2]
    assert time.monotonic() - began < 3.0 + 5.0 and not _left(folder)


def test_a_stopped_rank_is_the_reason_also_if_another_one_notices_first(
    fake: Case, start: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "halted")
    outcome, folder = start(fake, 30.0)
    assert outcome.status == "failed"
    assert outcome.reason.startswith("rank 1 in proof was stopped by a signal; rank 0 in proof")
    assert "a heartbeat is missing" in outcome.reason and not _left(folder)


def test_a_hang_leaves_each_ranks_stack_in_the_log(
    fake: Case, start: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "hang")
    outcome, folder = start(fake, 3.0)
    assert "rank 0 in proof (synchronize, session.py:" in outcome.reason
    assert "rank 1 in proof (_fail, session.py:" in outcome.reason
    log = (folder / "worker.log").read_text()
    waiting, failing = log.partition("Python stack of rank 1 in proof:")[::2]
    assert "Python stack of rank 0 in proof:" in waiting and "in synchronize" in waiting
    assert "in _fail" in failing


def test_settings_reach_the_worker_on_top_of_its_environment(fake: Case, tmp_path: Path) -> None:
    path, inputs = written(fake, tmp_path / "launch")
    settings = {"FAKE_FAULT": "environment", "SOME_ALGO": "Ring", "LANG": "xx"}
    request = LaunchRequest(fake, path, inputs, tmp_path / "launch", [0], 60.0, settings=settings)
    assert launch(request).status == "ok"
    for rank in range(2):
        found = json.loads((request.folder / f"environment-{rank}.json").read_text())
        assert settings.items() <= found.items() and found["FAKE_RANK"] == str(rank)


def test_a_setting_that_a_launch_would_override_is_a_failure(fake: Case, tmp_path: Path) -> None:
    path, inputs = written(fake, tmp_path / "launch")
    outcome = launch(LaunchRequest(
        fake, path, inputs, tmp_path / "launch", [0], 10.0, settings={"FAKE_RANK": "7"}
    ))
    assert outcome.status == "failed" and "not by a user: FAKE_RANK" in outcome.reason


@pytest.mark.parametrize("python", ["/nowhere/python", "/etc/hostname"])
def test_an_interpreter_that_cannot_run_is_a_failure(
    fake: Case, tmp_path: Path, python: str
) -> None:
    path, inputs = written(fake, tmp_path / "launch")
    outcome = launch(LaunchRequest(
        fake, path, inputs, tmp_path / "launch", [0], 10.0, python=python
    ))
    assert outcome.status == "failed" and python in outcome.reason


def test_records_come_in_the_order_of_ranks(tmp_path: Path) -> None:
    for rank in range(12):
        (tmp_path / f"rank-{rank}.json").write_text(json.dumps({"rank": rank}))
    assert [record["rank"] for record in read_launch(tmp_path)] == list(range(12))


def test_a_hang_ends_at_the_timeout_with_its_children(
    fake: Case, start: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "hang")
    outcome, folder = start(fake, 3.0)
    assert outcome.status == "timeout" and "3 s" in outcome.reason
    assert not _left(folder)


def test_a_killed_harness_leaves_no_worker(fake: Case, tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from tests.conftest import launch_case;"
        "from suite.contract.case import Case; import os;"
        f"os.environ['FAKE_OWNER'] = {os.environ['FAKE_OWNER']!r};"
        f"launch_case(Case({fake.framework!r}, 'numpy', 'data', '', 'mlp', 'tiny', 'synthetic',"
        f" 'cpu', 2), Path({str(tmp_path / 'x')!r}))"
    )
    environment = os.environ | {"FAKE_FAULT": "hang"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), *EXTRA])
    harness = subprocess.Popen([sys.executable, "-c", script], env=environment)
    _until(lambda: any("suite.ranks.train" in line for line in _left(tmp_path / "x")))
    time.sleep(1.0)
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    _until(lambda: not any("suite.ranks.train" in line for line in _left(tmp_path / "x")))
    for child in _processes(tmp_path / "x"):  # of a rank, which nobody is left to end
        child.kill()


def _until(true: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.05)


def test_memory_that_ends_in_the_probes_keeps_the_clean_steps(
    fake: Case, start: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "probe_memory")
    outcome, folder = start(fake)
    assert outcome.status == "ok", outcome.reason
    records = read_records(outcome.records)
    assert [len(record.step_seconds) for record in records] == [fake.steps] * 2
    assert not records[0].traces and not records[0].timed_step_seconds
    assert records[0].ledger["unprobed"] == "out of memory after the clean steps"
    # Where one rank had not come so far it is the end of the launch.
    monkeypatch.setenv("FAKE_FAULT", "memory")
    again, _ = start(fake)
    assert again.status == "oom"


def test_what_a_case_compiles_waits_for_its_next_launch(
    fake: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "compiles")
    found = []
    for number, kept in enumerate((tmp_path / "kept", tmp_path / "kept", None)):
        folder = tmp_path / f"launch-{number}"
        path, inputs = written(fake, folder)
        outcome = launch(LaunchRequest(fake, path, inputs, folder, [0], 60, kept=kept))
        found.append([record["ledger"]["compiled"] for record in outcome.records])
        assert not (folder / "compiled").exists()
    # Every rank finds its own again; a launch that is given no such place finds nothing.
    assert found == [["new"] * 2, ["kept"] * 2, ["new"] * 2]


def test_a_rank_that_left_early_is_named_before_those_that_lost_it(
    fake: Case, start: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have ended when the harness looks; only one of them has an error to show."""
    monkeypatch.setenv("FAKE_FAULT", "leave and lose")
    monkeypatch.setattr(group, "POLL_SECONDS", 3.0)
    outcome, _ = start(fake)
    assert outcome.reason == "rank 1 in proof ended with code 0 and left no record"
