"""The calibration and the rehearsals that this user keeps of this machine."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.foresight.fitting import Posterior
from suite.foresight.kept_rehearsals import KeptRehearsal, read_rehearsals
from suite.foresight.measured import Constants, posterior_of, read_constants

# The mean error of the TensorFlow rows of results/sample, predicted from a calibration of two cores
# that other programs used as well.
LOCAL_ERROR = 0.25
# The same of rows whose split was rehearsed (docs/foresight.md), twice as large to be sure.
REHEARSED_ERROR = 0.08
# A workload and its size, which rehearsals have to be of.
Subject = tuple[str, str]
Kept = TypeVar("Kept")


def kept_in() -> Path:
    """The folder in which this user keeps what was measured of this machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "training-split-suite"


def calibration_path() -> Path:
    """Where constants are kept."""
    return kept_in() / "calibration.json"


def rehearsals_path() -> Path:
    """Where rehearsals are kept."""
    return kept_in() / "rehearsals.json"


def machine_here(framework: str, mode: str, subject: Subject) -> tuple[Constants, Posterior]:
    """The stored constants of a framework on this machine, and what was rehearsed with them.

    Args:
        framework: Name, with ``/engine`` where it has several.
        mode: ``eager`` or ``compiled``.
        subject: Workload and size that is to be predicted.

    Raises:
        UsageError: They were not measured yet.
    """
    name, _, engine = framework.partition("/")
    stored = read_constants(calibration_path())
    mine = [one for one in stored
            if one.framework == name and one.mode == mode and engine in ("", one.engine)]
    if not mine:
        known = ", ".join(one.name for one in stored) or "nothing"
        raise UsageError(
            "--machine here", f"{framework}, {mode}", f"what was measured here: {known}",
            f"measure it: python -m suite predict --calibrate --framework {framework} "
            f"--mode {mode}, or name a device: --machine 'A100 SXM 80GB'")
    return mine[0], _posterior(mine[0], subject)


def constants_of_case(case: Case) -> Posterior | None:
    """The stored constants that predict a case; None if not all of them were measured yet.

    They were measured in float32, so nothing is known of other number formats.
    """
    wanted = (case.framework, case.engine, case.mode, case.device)
    mine = [one for one in read_constants(calibration_path())
            if (one.framework, one.engine, one.mode, one.device) == wanted]
    whole = bool(mine) and not mine[0].lacking
    if not whole or case.dtype != "float32":
        return None
    return _posterior(mine[0], (case.workload, case.size))


def _posterior(mine: Constants, subject: Subject) -> Posterior:
    room = psutil.virtual_memory().total / mine.devices if mine.device == "cpu" else 0.0
    known = [one.rehearsal for one in rehearsals_here(mine, subject)]
    return posterior_of(mine, float(room), LOCAL_ERROR, known, REHEARSED_ERROR)


def rehearsals_here(mine: Constants, subject: Subject) -> list[KeptRehearsal]:
    """The stored rehearsals of a workload in the framework, engine and mode of these constants."""
    return [one for one in read_rehearsals(rehearsals_path()) if one.about(*subject)
            and one.of(mine.framework, mine.engine, mine.mode, mine.device)]


def read_or_put_aside(path: Path, read: Callable[[Path], list[Kept]]) -> list[Kept]:
    """What is kept in a file. One that cannot be read is put aside and said, since its error
    advises to measure again.
    """
    try:
        return read(path)
    except UsageError as error:
        aside = path.with_suffix(".unreadable")
        path.replace(aside)
        print(f"{error}\nwhat was there is kept as {aside}", file=sys.stderr)
        return []


def check_writable(option: str, path: Path) -> None:
    """Refuses a place that cannot be written before minutes are spent on measuring.

    Args:
        option: What was asked for, for the message.
        path: The file that is to be written.

    Raises:
        UsageError: Nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        fix = f"set XDG_CACHE_HOME to a folder of yours ({error.strerror})"
        raise UsageError(option, str(path.parent), "a writable folder", fix) from None
