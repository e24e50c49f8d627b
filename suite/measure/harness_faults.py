"""Faults of the command itself: signals, disks, a second run, a clock that goes back.

Each is a real ``python -m suite run`` of one small case, hit in its second launch, and then gone on
with: what had finished before has to be there in the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from suite.measure.faults import Finding
from suite.measure.leaks import TOKEN, end_carriers, held, wait_until_gone

HARNESS = "harness"
SHORT_HARNESS = ("interrupt", "killed", "full-disk")
REPEATS, LAUNCH_SECONDS = 3, 60.0
# Whatever happens, a command has ended by then.
WHOLE_SECONDS = 8 * LAUNCH_SECONDS
# Ending a group takes up to five seconds, saving a run and leaving the interpreter one or two.
ENDED_SECONDS = 8.0
WHERE = {"full-disk": "whole run", "read-only": "start", "two-at-once": "start",
         "clock-back": "first launch"}
CLOSED, INTERRUPTED = -signal.SIGKILL, 130
# The wall clock of a harness that goes an hour back once a first launch is over. What measures,
# waits and times out must not look at it.
CLOCK = """
import runpy, time
began, real = time.monotonic(), time.time
time.time = lambda: real() - (3600.0 if time.monotonic() - began > {seconds} else 0.0)
time.time_ns = lambda: int(time.time() * 1e9)
runpy.run_module("{module}", run_name="__main__", alter_sys=True)
"""
# A file system with no room left, or one that nobody may write to, for one command alone.
FULL = 'mount -t tmpfs -o size=900k none "$OUT" && "$@"; code=$?; cp -r "$OUT" "$KEPT"; exit $code'
SEALED = 'mount --bind "$OUT" "$OUT" && mount -o remount,bind,ro "$OUT" && exec "$@"'


@dataclass
class Ran:
    """One command: how it ended, what it said, and how long it took since the fault."""

    code: int
    said: str
    ended_s: float | None = None
    problems: list[str] = field(default_factory=list)

    def expect(self, true: bool, problem: str) -> None:
        """Notes a bound that was left."""
        if not true:
            self.problems.append(problem)


class HarnessBench:
    """Runs commands with faults in ``folder``; ``module`` is the command line (for tests)."""

    def __init__(
        self, framework: str, folder: Path, token: str, module: str = "suite",
        options: Sequence[str] = (),
    ) -> None:
        self.folder, self.token, self.module = folder, token, module
        self.options = [
            "--framework", framework, "--strategy", "data", "--workload", "mlp", "--size", "tiny",
            "--device", "cpu", "--steps", "3", "--warmup", "20", "--repeats", str(REPEATS),
            "--no-link", "--quiet", "--timeout", f"{LAUNCH_SECONDS:g}", *options,
        ]

    def plant(self, kind: str) -> Finding | str:
        """One fault; in words, why it could not be tried."""
        out = self.folder / kind
        out.mkdir(parents=True)
        before = held(self.token)
        try:
            done = self.FAULTS[kind](self, out)
        except BaseException:  # the self-test itself is being ended
            end_carriers(self.token)
            raise
        if isinstance(done, str):
            return f"{HARNESS}: {kind} not tried, {done}"
        ran, lost, again = done
        gone_s = wait_until_gone(self.token, ENDED_SECONDS)
        left = held(self.token).beyond(before)
        end_carriers(self.token)
        ended = None if ran.ended_s is None else ran.ended_s + (gone_s if gone_s > 0.2 else 0.0)
        ran.expect(ended is None or ended <= ENDED_SECONDS, f"took {ended or 0:.1f} s to end")
        ran.expect(not lost, f"{lost} finished results are gone")
        said = (ran.said.strip().splitlines() or [""])[-1]
        return Finding(
            HARNESS, kind, WHERE.get(kind, "second launch"), _status(ran.code), said,
            ended_s=ended, lost=lost,
            survivors=sum(text.startswith("process ") for text in left), next_clean=again,
            problems=[*ran.problems, *left],
        )

    # What each fault does: the command that was hit, how many finished results it cost, and
    # whether the run could be gone on with; or why it cannot be tried here.

    def _signalled(self, out: Path, *numbers: signal.Signals) -> tuple[Ran, int, bool]:
        process = self._start("run", "--out", str(out))
        folder = _in_second_launch(out, process)
        before = _finished(folder)
        began = time.monotonic()
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.3 if len(numbers) > 1 else 0.0)
        ran = _end_of(process, began)
        killed = signal.SIGKILL in numbers
        # One that comes while the interpreter ends is a signal's end, which a shell calls 130 too.
        expected = (CLOSED,) if killed else (INTERRUPTED, -signal.SIGINT)
        ran.expect(ran.code in expected, f"exit code {ran.code}, expected {expected[0]}")
        ran.expect(killed or "--resume" in ran.said, "does not say how to go on")
        wait_until_gone(self.token, ENDED_SECONDS)
        again = _end_of(self._start("run", "--resume", str(folder)))
        ran.expect(again.code == 0, f"cannot be gone on with: {again.said[-200:]}")
        after = _finished(folder)
        lost = sum(after.get(name) != text for name, text in before.items())
        ran.expect(len(after) == REPEATS, f"{len(after)} of {REPEATS} launches in the end")
        return ran, lost, again.code == 0

    def interrupt(self, out: Path) -> tuple[Ran, int, bool]:
        """Ctrl-C."""
        return self._signalled(out, signal.SIGINT)

    def interrupt_twice(self, out: Path) -> tuple[Ran, int, bool]:
        """Ctrl-C again while the launch is being ended."""
        return self._signalled(out, signal.SIGINT, signal.SIGINT, signal.SIGINT)

    def terminate(self, out: Path) -> tuple[Ran, int, bool]:
        """What a batch system sends first."""
        return self._signalled(out, signal.SIGTERM)

    def hang_up(self, out: Path) -> tuple[Ran, int, bool]:
        """A terminal that was closed."""
        return self._signalled(out, signal.SIGHUP)

    def killed(self, out: Path) -> tuple[Ran, int, bool]:
        """What nothing can be done against in time."""
        return self._signalled(out, signal.SIGKILL)

    def full_disk(self, out: Path) -> tuple[Ran, int, bool] | str:
        """A case fails with the reason, and the run ends in order."""
        kept = out.parent / "full-disk-kept"
        if reason := _no_mounts():
            return reason
        # Room for a launch or two; then a file that takes the rest.
        process = self._start("run", "--out", str(out), shell=FULL,
                              environment={"OUT": str(out), "KEPT": str(kept)})
        ran = _end_of(process)
        ran.expect(ran.code == 1, f"exit code {ran.code}, expected 1")
        ran.expect("Traceback" not in ran.said, "a traceback")
        ordered = "--resume" in ran.said or "not everything is in" in ran.said
        ran.expect(ordered, "does not say what is there and how to go on")
        ran.expect("No space left" in ran.said or _reasons(kept), "does not name the full disk")
        return ran, 0, True

    def read_only(self, out: Path) -> tuple[Ran, int, bool] | str:
        """Refused before anything is measured."""
        if reason := _no_mounts():
            return reason
        ran = _end_of(self._start("run", "--out", str(out), shell=SEALED,
                                  environment={"OUT": str(out)}))
        ran.expect(ran.code == 2, f"exit code {ran.code}, expected 2")
        ran.expect(str(out) in ran.said and "Traceback" not in ran.said, "does not name the folder")
        return ran, 0, True

    def two_at_once(self, out: Path) -> tuple[Ran, int, bool]:
        """Both started in one second in one folder: each has a run of its own."""
        processes = [self._start("run", "--out", str(out)) for _ in range(2)]
        both = [_end_of(process) for process in processes]
        whole = [len(_finished(folder)) == REPEATS for folder in _runs(out)]
        both[0].expect([one.code for one in both] == [0, 0], f"exit codes {both}")
        both[0].expect(whole == [True, True], f"{len(whole)} runs, whole: {whole}")
        return both[0], 0, all(whole)

    def same_folder(self, out: Path) -> tuple[Ran, int, bool]:
        """A second command that goes on with a run in progress is refused; the first ends well."""
        first = self._start("run", "--out", str(out), "--repeats", "100")
        folder = _in_second_launch(out, first)
        second = _end_of(self._start("run", "--resume", str(folder)))
        second.expect(second.code == 2, f"exit code {second.code}, expected 2")
        second.expect(first.poll() is None, "the first one has ended")
        first.send_signal(signal.SIGINT)
        again = _end_of(first)
        second.expect(again.code == INTERRUPTED, f"the first one: exit code {again.code}")
        return second, 0, again.code == INTERRUPTED

    def clock_back(self, out: Path) -> tuple[Ran, int, bool]:
        """The wall clock goes back an hour; nothing ends early, late or out of order."""
        code = CLOCK.format(seconds=3.0, module=self.module)
        ran = _end_of(self._start("run", "--out", str(out), code=code))
        ran.expect(ran.code == 0, f"exit code {ran.code}: {ran.said[-200:]}")
        folders = _runs(out)
        ran.expect(len(folders) == 1 and len(_finished(folders[0])) == REPEATS, "launches are gone")
        return ran, 0, ran.code == 0

    FAULTS: Mapping[str, Callable[[HarnessBench, Path], tuple[Ran, int, bool] | str]] = {
        "interrupt": interrupt, "interrupt-twice": interrupt_twice, "terminate": terminate,
        "hang-up": hang_up, "killed": killed, "full-disk": full_disk, "read-only": read_only,
        "two-at-once": two_at_once, "same-folder": same_folder, "clock-back": clock_back,
    }

    def _start(
        self, *arguments: str, shell: str = "", code: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """A command with the self-test's mark, which its ranks inherit too."""
        passed = ",".join(filter(None, (os.environ.get("SUITE_PASS_ENV", ""), TOKEN)))
        own = os.environ | {TOKEN: self.token, "SUITE_PASS_ENV": passed, **(environment or {})}
        options = [] if "--resume" in arguments else self.options
        start = ["-c", code] if code else ["-m", self.module]
        command = [sys.executable, *start, arguments[0], *options, *arguments[1:]]
        if shell:
            command = [*_unshare(), "sh", "-c", shell, "sh", *command]
        return subprocess.Popen(command, env=own, stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                preexec_fn=_listen_to_interrupts)


def _listen_to_interrupts() -> None:
    """A background job ignores Ctrl-C, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _unshare() -> list[str]:
    """Mounts that nobody else sees; who is not root becomes it in a namespace of users."""
    return ["unshare", "-m", *([] if os.geteuid() == 0 else ["-r"])]


def _no_mounts() -> str:
    """Why a file system cannot be mounted for one command; empty where it can."""
    if not shutil.which("unshare"):
        return "there is no unshare"
    tried = subprocess.run([*_unshare(), "mount", "-t", "tmpfs", "none", "/mnt"],
                           capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"nothing can be mounted here: {tried.stderr.strip()}"


def _runs(out: Path) -> list[Path]:
    return sorted(path.parent for path in out.glob("*/run.json"))


def _finished(folder: Path) -> dict[str, str]:
    """Records of the launches that count as finished, by their place in the run."""
    return {
        str(outcome.parent.relative_to(folder)): "".join(
            path.read_text(encoding="utf-8") for path in sorted(outcome.parent.glob("rank-*.json"))
        )
        for outcome in folder.glob("cases/*/launch-*/outcome.json")
    }


def _in_second_launch(out: Path, process: subprocess.Popen[str]) -> Path:
    """The run folder, once a first launch is finished and the ranks of the next one are there."""
    deadline = time.monotonic() + WHOLE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        for started in out.glob("*/cases/*/launch-1/phase-0"):
            return started.parents[3]
        time.sleep(0.02)
    said = process.communicate()[0] if process.poll() is not None else "still running"
    raise RuntimeError(f"the command had no second launch: {said[-500:]}")


def _end_of(process: subprocess.Popen[str], began: float | None = None) -> Ran:
    try:
        said, _ = process.communicate(timeout=WHOLE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        return Ran(process.returncode, said, WHOLE_SECONDS, ["hangs"])
    return Ran(process.returncode, said, None if began is None else time.monotonic() - began)


def _reasons(kept: Path) -> bool:
    """Whether the table that was saved names the full disk."""
    return any("No space left" in path.read_text(encoding="utf-8")
               for path in kept.rglob("results.csv"))


def _status(code: int) -> str:
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name
