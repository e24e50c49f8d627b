"""``run --dry-run``: shows the matrix and how long it took before, without running or writing."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from suite.analysis.doubts import FEW_LAUNCHES
from suite.cli.console import printer
from suite.config.model import RunConfig
from suite.contract.candidates import Candidate
from suite.contract.case import Case
from suite.contract.formats import duration
from suite.measure.availability import unsupported_reason
from suite.measure.room import free_room, shortage
from suite.report.choice import plan_parts
from suite.runfolder.files import check_out
from suite.runfolder.samples import FILE, SampleStore, open_read_only

RUNS_LOOKED_AT = 50
LAUNCH_SECONDS = """SELECT json_extract(content, '$.outcome.seconds') FROM launch
WHERE case_id = ? AND json_extract(content, '$.outcome.status') = 'ok'"""


def show_plan(
    config: RunConfig, cases: list[Case], out: Path, candidates: Sequence[Candidate] = ()
) -> int:
    """Prints a line for each case, and an estimate of the time of the whole run.

    Args:
        config: The configuration of the run.
        cases: The cases of its matrix.
        out: The folder of run folders, in which earlier runs are looked up.
        candidates: The ways of which ``--strategy auto`` picked the cases.

    Returns:
        The exit code, always 0, since nothing is run.
    """
    check_out(out)
    known = earlier_seconds(cases, out)
    table = Table("case", "launches", "seconds a launch", "as in", "why not")
    room = free_room()
    reasons = {case: unsupported_reason(case, config.python) or shortage(case, room)
               for case in cases}
    for case, reason in reasons.items():
        seconds, run = known.get(case.case_id, (None, ""))
        shown = "" if reason else "unknown" if seconds is None else f"{seconds:.1f}"
        launches = "0" if reason else _launches(config)
        table.add_row(case.case_id, launches, shown, "" if reason else run, reason)
    console = printer()
    for part in plan_parts(candidates):
        console.print(part)
    if candidates and all(one.predicted_s is None for one in candidates):
        console.print("Nothing is known of this machine yet. A run first measures constants, as "
                      f"`predict --calibrate` does; then it runs {config.finalists} of these ways.")
    console.print(table)
    runs = [case for case, reason in reasons.items() if not reason]
    console.print(estimate(config, [known.get(case.case_id, (None, ""))[0] for case in runs]))
    return 0


def _least(config: RunConfig) -> int:
    return config.repeats if config.precision is None else min(FEW_LAUNCHES, config.repeats)


def _launches(config: RunConfig) -> str:
    least = _least(config)
    return str(least) if least == config.repeats else f"{least} to {config.repeats}"


def estimate(config: RunConfig, seconds: list[float | None]) -> str:
    """Says in words how long a run may take.

    Args:
        config: Its configuration, with the number of launches and the budget.
        seconds: For each case that would run, how long a launch took before; None if unknown.
    """
    known = [each for each in seconds if each is not None]
    if not seconds:
        return "Nothing here can run."
    unknown = len(seconds) - len(known)
    if not known:
        text = "Time: unknown, no earlier run of these cases with these settings"
    else:
        low, high = sum(known) * _least(config), sum(known) * config.repeats
        span = duration(low) if low == high else f"{duration(low)} to {duration(high)}"
        more = f", and {unknown} cases of which nothing is known" if unknown else ""
        text = f"Time: about {span}{more}"
    if config.budget is not None:
        text += f"; no block starts that would end past the budget of {duration(config.budget)}"
    if config.leader_repeats > config.repeats:
        text += f"; those that may be the fastest are launched up to {config.leader_repeats} times"
    return f"{text}. References, proofs in float32 and start-up come on top."


def earlier_seconds(cases: list[Case], out: Path) -> dict[str, tuple[float, str]]:
    """Looks up how long launches of these cases took in the newest run with equal settings.

    Args:
        cases: The cases to look up.
        out: The folder of run folders.

    Returns:
        For each case that was found, by its id, the median seconds of a launch and the run's name.
    """
    known: dict[str, tuple[float, str]] = {}
    files = sorted(out.glob("*/run.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for file in files[:RUNS_LOOKED_AT]:
        before = _settings_of_run(file)
        matching = [c.case_id for c in cases
                    if c.case_id not in known and before.get(c.case_id) == _settings(asdict(c))]
        if matching and SampleStore.readable(file.parent):
            known |= _medians(file.parent, matching)
    return known


def _settings_of_run(file: Path) -> dict[str, dict[str, Any]]:
    """Returns the settings of each case of a run by case id.

    None if this release cannot read the run.
    """
    try:
        entries = json.loads(file.read_text(encoding="utf-8")).get("cases", [])
        cases = [Case.stored(entry["case"]) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {case.case_id: _settings(asdict(case)) for case in cases}


def _settings(case: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings that the length of a launch depends on."""
    return {name: value for name, value in case.items() if name not in ("seed", "timeline")}


def _medians(folder: Path, case_ids: list[str]) -> dict[str, tuple[float, str]]:
    connection = open_read_only(folder / FILE)
    try:
        times = {name: [row[0] for row in connection.execute(LAUNCH_SECONDS, (name,))]
                 for name in case_ids}
    finally:
        connection.close()
    return {name: (statistics.median(each), folder.name) for name, each in times.items() if each}
