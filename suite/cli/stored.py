"""The calibration that this user keeps of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.foresight.fitting import Posterior
from suite.foresight.measured import Constants, posterior_of, read_constants

# The mean error of the TensorFlow rows of results/sample, predicted from a calibration of two cores
# that other programs used as well.
LOCAL_ERROR = 0.25


def calibration_path() -> Path:
    """Where this user's calibration of this machine is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "training-split-suite" / "calibration.json"


def machine_here(framework: str, mode: str) -> tuple[Constants, Posterior]:
    """The stored constants of a framework on this machine.

    Args:
        framework: Name, with ``/engine`` where it has several.
        mode: ``eager`` or ``compiled``.

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
    return mine[0], _posterior(mine[0])


def constants_of_case(case: Case) -> Posterior | None:
    """The stored constants that predict a case; None if not all of them were measured yet.

    They were measured in float32, so nothing is known of other number formats.
    """
    wanted = (case.framework, case.engine, case.mode, case.device)
    mine = [one for one in read_constants(calibration_path())
            if (one.framework, one.engine, one.mode, one.device) == wanted]
    whole = bool(mine) and not mine[0].lacking
    return _posterior(mine[0]) if whole and case.dtype == "float32" else None


def _posterior(mine: Constants) -> Posterior:
    room = psutil.virtual_memory().total / mine.devices if mine.device == "cpu" else 0.0
    return posterior_of(mine, float(room), LOCAL_ERROR)
