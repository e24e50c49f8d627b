"""How many planted mistakes the tests of a room find: ``make mutants``.

    python -m scripts.mutants [--count 40] [--seed 0] [--jobs 2] [--minutes 5] [ROOM | FILE …]

``ROOM`` is ``analysis``, ``proofs`` or ``launch``; without one all three are looked at, each with
``--count`` mistakes. A mistake is one place of a module changed in a copy of the project: a
comparison turned or widened, an operator exchanged, a number made larger, a condition negated. The
tests that may notice it run until one fails, nearest first (``scripts.near_tests``). What none
of them notices is printed with its line; somebody should ask whether it matters.

What was found is noted in ``results/mutants.jsonl``. ``--minutes`` ends a call after a time, and
the next one goes on from there (``scripts.mutant_notes``).

Places that nothing computes, or that only say how a text is laid out, are left out
(``scripts.mutations``). No real framework is started: what only a real launch shows counts as
missed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.mutant_notes import TIME, Notes
from scripts.mutations import count_places, mutate
from scripts.near_tests import Tiers, nearest_tests

ROOT = Path(__file__).resolve().parents[1]
NOTES = ROOT / "results" / "mutants.jsonl"
PROOFS = ("suite/measure/proofs.py", "suite/measure/proof_limits.py", "suite/measure/proving.py",
          "suite/measure/shallow.py", "suite/analysis/parity.py", "suite/analysis/rounding.py",
          "suite/analysis/judging.py")
ROOMS = {"analysis": ("suite/analysis",), "proofs": PROOFS, "launch": ("suite/launch",)}
LEFT_OUT = (".venv*", ".git", "results", "__pycache__", ".*_cache")
# What takes long to import and is none of the project's: forked with, it is there at once.
PRELOADED = ("pytest", "numpy", "pandas", "scipy.stats", "pydantic", "psutil", "jinja2", "rich",
             "typer", "hypothesis")
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-m", "not alone and not long")
PASSED, NONE_CHOSEN = 0, 5  # pytest's exit codes
# Files of the far tiers that take longer are about processes, and not about one module.
NEAR_TIERS, FAR_FILE_S = 3, 5.0
# A mistake may never end: that is noticed after this time, or a multiple of what is usual.
LEAST_LIMIT_S, TIMES_USUAL = 20.0, 4.0
POLL_S = 0.05
Seconds = dict[str, float]


@dataclass(frozen=True)
class Mutant:
    """The place of a mistake: a module, relative to the project, and the number of the place."""

    module: str
    number: int


class TimeUp(Exception):
    """The minutes of this call are over."""


def main() -> int:
    """Prints each mutant's fate and each room's share; 1 where the tests fail without a mistake."""
    asked = _arguments()
    _preload()
    notes = Notes(NOTES, ROOT)
    until = time.monotonic() + 60 * asked.minutes
    rooms = {name: sample(ROOMS.get(name, (name,)), asked.count, asked.seed)
             for name in asked.rooms or ROOMS}
    with tempfile.TemporaryDirectory() as name:
        first = _copied(Path(name) / "0")
        try:
            wanted = [one for chosen, _ in rooms.values() for one in chosen]
            usual = _usual_seconds(first, wanted, notes, until)
            # With what was compiled on the way.
            others = [shutil.copytree(first, Path(name) / str(job)) for job in range(1, asked.jobs)]
            for room, (chosen, places) in rooms.items():
                noticed = sum(_run_all(chosen, [first, *others], usual, notes, until))
                print(f"{room}: {noticed} of {len(chosen)} noticed ({noticed / len(chosen):.0%}), "
                      f"of {places} places, seed {asked.seed}", flush=True)
        except AssertionError as error:
            print(error, file=sys.stderr)
            return 1
        except TimeUp:
            print(f"{asked.minutes:g} minutes are over; the same command goes on", flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How many planted mistakes the tests find.")
    parser.add_argument("rooms", nargs="*", help="analysis, proofs, launch, a file or a folder")
    parser.add_argument("--count", type=int, default=40, help="mistakes in each room")
    parser.add_argument("--seed", type=int, default=0, help="which places are drawn")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)),
                        help="tested at the same time")
    parser.add_argument("--minutes", type=float, default=float("inf"),
                        help="no further test is begun after so long")
    return parser.parse_args()


def _preload() -> None:
    """Imports what tests need, with one thread: the fork of a process with more may hang."""
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    for name in PRELOADED:
        importlib.import_module(name)


def sample(paths: Sequence[str], count: int, seed: int) -> tuple[list[Mutant], int]:
    """Draws places of these files and folders; the second is how many there are."""
    modules = [file for name in paths
               for file in (sorted((ROOT / name).rglob("*.py")) if (ROOT / name).is_dir()
                            else [ROOT / name])]
    places = [Mutant(str(module.relative_to(ROOT)), number)
              for module in modules for number in range(count_places(module.read_text()))]
    return random.Random(seed).sample(places, min(len(places), count)), len(places)


def _copied(folder: Path) -> Path:
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    shutil.copytree(ROOT / "results" / "sample", folder / "results" / "sample")
    return folder


def _usual_seconds(
    copy: Path, mutants: Sequence[Mutant], notes: Notes, until: float
) -> Seconds:
    """How long each file with tests takes without a mistake.

    Raises:
        AssertionError: One of them fails anyway.
        TimeUp: ``until`` (of the monotonic clock) has passed.
    """
    needed = {path for module in {one.module for one in mutants}
              for tier in nearest_tests(module, copy) for path in tier}
    for path in sorted(path for path in needed if notes.seconds(path) is None):
        if time.monotonic() > until:
            raise TimeUp
        began = time.monotonic()
        _, status = os.waitpid(_tested(copy, [path], keep=True), 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (PASSED, NONE_CHOSEN), f"fails without a mistake; mend that first: {path}"
        notes.keep_seconds(path, time.monotonic() - began)
    found = {path: notes.seconds(path) or 0.0 for path in needed}
    slowest = max(found, key=lambda path: found[path], default="none")
    print(f"{len(found)} files with tests take {sum(found.values()):.0f} s without a mistake, most "
          f"of it {slowest}", flush=True)
    return found


def _run_all(
    mutants: Sequence[Mutant], copies: Sequence[Path], usual: Seconds, notes: Notes, until: float
) -> Iterator[bool]:
    """Whether each is noticed; first those that are known, then in the order in which it is found.

    Raises:
        TimeUp: ``until`` (of the monotonic clock) has passed, and what ran then has ended.
    """
    waiting: list[Mutant] = []
    for mutant in mutants:
        if (known := notes.fate(mutant.module, mutant.number)) is None:
            waiting.append(mutant)
        else:
            yield _told(mutant, *known, "noted")
    idle, running = list(copies), list[Trial]()
    while waiting or running:
        while waiting and idle and time.monotonic() < until:
            running.append(Trial(waiting.pop(0), idle.pop(), usual))
        if waiting and not running:
            raise TimeUp
        for trial in list(running):
            if (by := trial.noticed_by()) is not None:
                running.remove(trial)
                idle.append(trial.copy)
                notes.keep_fate(trial.mutant.module, trial.mutant.number, trial.what, by)
                yield _told(trial.mutant, trial.what, by, f"{time.monotonic() - trial.began:.0f} s")
        time.sleep(POLL_S)


def _told(mutant: Mutant, what: str, by: str, when: str) -> bool:
    fate = "noticed" if by else "SURVIVED"
    print(f"{fate:9}{mutant.module}:{what}  [{' '.join(filter(None, (by, when)))}]", flush=True)
    return bool(by)


class Trial:
    """A mistake that is planted in a copy, and the process in which the tests look for it."""

    def __init__(self, mutant: Mutant, copy: Path, usual: Seconds) -> None:
        self.mutant, self.copy, self.path = mutant, copy, copy / mutant.module
        tests = in_order(nearest_tests(mutant.module, copy), usual)
        self.limit_s = max(LEAST_LIMIT_S, TIMES_USUAL * sum(usual[path] for path in tests))
        self.text = self.path.read_text()
        changed, self.what = mutate(self.text, mutant.number)
        self.path.write_text(changed)
        Path(importlib.util.cache_from_source(str(self.path))).unlink(missing_ok=True)
        self.began = time.monotonic()
        self.pid = _tested(copy, tests, keep=False)

    def noticed_by(self) -> str | None:
        """The file with the test that failed, "" if none did, ``TIME``; None while they run."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid and time.monotonic() - self.began < self.limit_s:
            return None
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if not pid:
            os.waitpid(self.pid, 0)
        self.path.write_text(self.text)
        if not pid:
            return TIME
        if os.waitstatus_to_exitcode(status) in (PASSED, NONE_CHOSEN):
            return ""
        # What ends pytest itself names no test: then only the module decides, as for time.
        return Failure.named_in(self.copy) or TIME


class Failure:
    """Tells which file's test failed, beside the copy in which it did: a plugin of pytest."""

    def __init__(self, copy: Path) -> None:
        self.path = self._path(copy)
        self.path.unlink(missing_ok=True)

    @staticmethod
    def _path(copy: Path) -> Path:
        return copy.with_name(f"{copy.name}.failed")

    @classmethod
    def named_in(cls, copy: Path) -> str:
        """The file, or "" where none was named."""
        path = cls._path(copy)
        return path.read_text() if path.exists() else ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A test, its set-up or its end failed."""
        if report.failed:
            self.path.write_text(report.nodeid.split("::")[0])

    # A file that cannot even be read.
    pytest_collectreport = pytest_runtest_logreport


def in_order(tiers: Tiers, usual: Seconds) -> list[str]:
    """The files of a nearer tier first, in a tier the quicker ones."""
    return [path for number, tier in enumerate(tiers)
            for path in sorted(tier, key=lambda path: usual[path])
            if number < NEAR_TIERS or usual[path] <= FAR_FILE_S]


def _tested(folder: Path, tests: Sequence[str], keep: bool) -> int:
    """Runs tests until one fails, in a fork of this process; returns its id.

    ``keep`` says whether compiled modules are kept: their times are in whole seconds, so a module
    that was changed twice in one would be taken for unchanged.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        sys.path[0] = str(folder)
        if not keep:
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nowhere, number)
        pytest = importlib.import_module("pytest")
        code = int(pytest.main([*OPTIONS, *tests], plugins=[Failure(folder)]))
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
