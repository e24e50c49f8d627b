"""One launch: a fresh group of worker processes, bounded in time, killed as a group."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case
from suite.contract.records import read_launch
from suite.contract.registry import manifest

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS, SETTLE_SECONDS, GRACE_SECONDS, HELPER_SECONDS = 0.02, 0.5, 3.0, 30.0
WORDS = 200
Guard = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Outcome:
    """How a launch ended: status ok, failed, timeout or oom, and the reason in words."""

    status: str
    reason: str
    seconds: float
    records: list[dict[str, Any]]


def launch(
    case: Case,
    case_path: Path,
    inputs_path: Path,
    folder: Path,
    cores: list[int],
    timeout_s: float,
    python: str = sys.executable,
    worker: str = "suite.ranks.train",
    prefixes: Sequence[Sequence[str]] = (),
    guard: Guard | None = None,
) -> Outcome:
    """Runs the group to its end, each rank pinned to its equal share of ``cores``, or to one.

    ``worker`` is the module that each rank runs and ``inputs_path`` the file it reads.
    ``prefixes[i]`` is a command that rank i is started through (``ip netns exec …``, ``numactl …``)
    and must become the worker by exec; the helper goes through rank 0's. ``guard`` looks at the
    workers' process ids every ``POLL_SECONDS``; what it says ends the group as ``oom``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A folder may be used again after an interruption; what a dead group left must not count.
    for leftover in folder.iterdir():
        if leftover.is_dir():
            shutil.rmtree(leftover)
        elif leftover != case_path:
            leftover.unlink()
    plan = manifest(case.framework).launch_plan(case, folder, python)
    began = time.monotonic()
    group: list[subprocess.Popen[bytes]] = []
    with (folder / "worker.log").open("ab") as log:
        try:
            extra = _start_helper(plan, group, log, prefixes[0] if prefixes else ())
            for index in range(plan.processes):
                files = (case_path, inputs_path, folder)
                command = [python, "-m", worker, *_arguments(files, index, plan, cores)]
                command[:0] = prefixes[index] if prefixes else ()
                group.append(_spawn(command, plan.environment[index] | extra, log))
            workers = group[-plan.processes :]
            status, reason = _wait(workers, began + timeout_s, timeout_s, guard, folder)
        except RuntimeError as error:
            status, reason = "failed", str(error)
        finally:
            _kill(group)
            if plan.scratch:
                shutil.rmtree(plan.scratch, ignore_errors=True)
    seconds = time.monotonic() - began
    if status == "failed":
        log_text = (folder / "worker.log").read_text(errors="replace")
        status = "oom" if out_of_memory(log_text) else "failed"
    return Outcome(status, reason, seconds, read_launch(folder))


def _arguments(
    files: tuple[Path, ...], index: int, plan: LaunchPlan, cores: list[int]
) -> list[str]:
    share = len(cores) // plan.processes
    mine = cores[index * share : (index + 1) * share] or [cores[index % len(cores)]]
    names = ",".join(map(str, mine))
    return [*(str(path.resolve()) for path in files), str(index), str(plan.processes), names]


def _spawn(command: list[str], extra: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    # The working directory too: a workload may be named from there.
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH"), str(Path.cwd())))
    own = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    environment = os.environ | own | extra
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, env=environment,
        start_new_session=True,
    )


def _start_helper(
    plan: LaunchPlan, group: list[subprocess.Popen[bytes]], log: IO[bytes],
    prefix: Sequence[str],
) -> dict[str, str]:
    if not plan.helper or plan.helper_output is None:
        return {}
    helper = _spawn([*prefix, *plan.helper], {}, log)
    group.append(helper)
    deadline = time.monotonic() + HELPER_SECONDS
    while not plan.helper_output.exists():
        if helper.poll() is not None:
            raise RuntimeError(f"the launcher's helper ended with code {helper.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the launcher's helper was not ready in {HELPER_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
    return dict(json.loads(plan.helper_output.read_text()))


def _wait(
    workers: list[subprocess.Popen[bytes]], deadline: float, timeout_s: float,
    guard: Guard | None, folder: Path,
) -> tuple[str, str]:
    """A rank that dies ends the group: the others would wait for it forever."""
    while True:
        codes = [worker.poll() for worker in workers]
        if any(codes):
            return "failed", _first_failure(_settled(workers), folder)
        if all(code == 0 for code in codes):
            return "ok", ""
        if time.monotonic() > deadline:
            return "timeout", f"not finished after {timeout_s:g} s"
        if guard and (said := guard([worker.pid for worker in workers])):
            return "oom", said
        time.sleep(POLL_SECONDS)


def _settled(workers: list[subprocess.Popen[bytes]]) -> list[int | None]:
    """The ranks' exit codes once those that one rank's end takes along have ended too."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return [worker.returncode for worker in workers]


def _first_failure(codes: list[int | None], folder: Path) -> str:
    """The failure that caused the others, in words.

    A rank that was killed says nothing and the others complain of it, so a signal comes first; but
    ``SIGABRT`` is also how a framework's threads end when they lose another rank. Of the rest the
    error that was raised first is the cause (``suite.ranks.train.last_words``).
    """
    failures = {
        rank: json.loads(path.read_text())
        for rank in range(len(codes))
        if (path := folder / f"failure-{rank}.json").exists()
    }

    def order(rank: int) -> tuple[bool, bool, float]:
        killed = (codes[rank] or 0) < 0 and codes[rank] != -signal.SIGABRT
        return not killed, rank not in failures, failures.get(rank, {}).get("raised_at_s", 0.0)

    rank = min((rank for rank, code in enumerate(codes) if code or rank in failures), key=order)
    words = failures[rank]["error"] if rank in failures else ""
    if not failures:
        words = _last_error((folder / "worker.log").read_text(errors="replace"))
    return f"rank {rank} {_ended(codes[rank])}" + (f": {words[:WORDS]}" if words else "")


def _ended(code: int | None) -> str:
    if code is None:
        return "failed"
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
    return f"ended with {how}"


def _kill(group: list[subprocess.Popen[bytes]]) -> None:
    """Each process leads a session of its own, so its children go with it."""
    _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(p.poll() is None for p in group) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    _signal(group, signal.SIGKILL)
    for process in group:
        process.wait()


def _signal(group: list[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in group:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


OOM_MARKS = ("out of memory", "Out of memory", "OutOfMemoryError", "MemoryError",
             "RESOURCE_EXHAUSTED", "ResourceExhaustedError", "Dst tensor is not initialized",
             "OOM when allocating", "can't allocate memory", "std::bad_alloc",
             "STATUS_ALLOC_FAILED")


def out_of_memory(log: str) -> bool:
    """Whether a rank's log says so, in the words of a framework or of CUDA's libraries."""
    return any(mark in log for mark in OOM_MARKS)


def _last_error(log: str) -> str:
    """The last line of a traceback says more than an exit code."""
    errors = [line for line in log.splitlines() if _is_error(line)]
    return errors[-1] if errors else ""


def _is_error(line: str) -> bool:
    head = line.split(":", 1)[0]
    return ":" in line and " " not in head and head.endswith(("Error", "Exception", "Exit"))
