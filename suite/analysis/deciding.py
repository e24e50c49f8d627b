"""Cases that two runs cannot tell apart, and the command of one run that would decide them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.contract.registry import engines
from suite.contract.row import Row

# A tie whose interval allows a larger change than this share has decided nothing.
WIDE = 0.05
# OWN are columns of a row that are also options; SHARED are options that a whole run has.
OWN = ("framework", "strategy", "variant", "mesh", "workload", "size", "data", "device", "devices",
       "dtype", "mode", "accumulate", "recompute", "balance", "padded", "scaling",
       "transport", "cut")
SHARED = ("batch", "steps", "warmup", "seed")


@dataclass(frozen=True)
class Undecided:
    """A case whose ties in some metrics are too wide to say anything.

    Attributes:
        case_id: The case.
        metrics: The metrics, keys of ``comparison.COMPARED``.
        reach: How large the change may be either way, as a share.
        command: A command that measures both in one run; empty if there is none.
        missing: What the user has to add to the command, in words.
    """

    case_id: str
    metrics: tuple[str, ...]
    reach: float
    command: str
    missing: str = ""


def deciding(
    case_id: str, wide: Mapping[str, float], row: Row, runs: tuple[dict[str, Any], dict[str, Any]],
    machine: Sequence[str],
) -> Undecided:
    """Writes the command that would decide a case which both runs know too imprecisely.

    Args:
        case_id: The case.
        wide: Metric to how far from 1 its interval reaches, as a share.
        row: The case in the later run.
        runs: run.json of the earlier run and of the later one.
        machine: What differs between machines and versions, in words.
    """
    reach, metrics = max(wide.values()), tuple(wide)
    if not row.framework:  # a user's own benchmarks, which the suite cannot run
        return Undecided(case_id, metrics, reach, "")
    sides = [_side(row.framework, run) for run in runs]
    alike = sides[0] == sides[1] or not all(sides)
    a, b = ("", "") if alike else (f"--python {text}" for text in sides)
    missing = "give --a and --b what differs between the runs"
    if machine:
        missing += f" ({'; '.join(machine)})"
    command = ["python", "-m", "suite", "ab", *_options(row, runs[1]), "--a", a, "--b", b]
    return Undecided(case_id, metrics, reach, shlex.join(command), missing if alike else "")


def _side(framework: str, run: Mapping[str, Any]) -> str:
    """Returns ``FRAMEWORK=interpreter`` of a run's workers; empty if it was not recorded."""
    named = run.get("configuration", {}).get("python", {}).get(framework)
    path = named or run.get("environment", {}).get("interpreter", "")
    return shlex.quote(f"{framework}={path}") if path else ""


def _options(row: Row, run: Mapping[str, Any]) -> list[str]:
    """Returns the options that describe the case and how it was measured."""
    case = {name: row.value(name) for name in OWN}
    # The command line calls the plain variant, which has no name, "default".
    case["variant"] = row.variant or "default"
    if len(engines().get(row.framework, ())) > 1:
        case["engine"] = row.engine
    shared = {name: run.get("configuration", {}).get(name) for name in SHARED}
    speeds = row.device_speeds.replace(" ", "")
    given = case | shared | ({"device_speeds": speeds} if speeds else {})
    return [part for name, value in given.items() if value not in (None, "")
            for part in (f"--{name.replace('_', '-')}", str(value))]
