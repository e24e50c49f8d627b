"""Works out from the folder of an interrupted run what is still missing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from suite.analysis.memory_frontier import FAILED as FAILED_PROBE
from suite.config.model import RunConfig
from suite.config.resolution import given
from suite.config.validation import validate
from suite.contract.case import SCHEMA_VERSION
from suite.contract.errors import UsageError
from suite.machine import description
from suite.runfolder import files
from suite.runfolder.reading import StoredRun, read_run
from suite.runfolder.samples import SampleStore

FAILED = ("failed", "timeout", "oom")
# What may be raised beside --resume: it asks for more launches and changes none.
MORE = ("leader_repeats",)
SAME_MACHINE = ("processor", "cores", "gpus", "python", "versions")


def reopen(folder: Path, options: dict[str, Any]) -> tuple[RunConfig, StoredRun]:
    """Reads the configuration and the results of a run that is to be continued.

    Cases that failed are opened again.

    Args:
        folder: The run folder.
        options: The options that the user gave beside ``--resume``.

    Returns:
        The configuration, and the run as it was read.

    Raises:
        UsageError: If an option, the machine, or what is installed differs from the run's, or the
            folder holds a run that cannot be continued.
    """
    stored = read_run(folder)
    if "side" in stored.run:
        fix = "start `ab` again; what this side has measured stays readable"
        raise UsageError("--resume", str(folder), "a run, not one side of an A/B run", fix)
    version = stored.run["schema_version"]
    if version != SCHEMA_VERSION:
        expected = f"a run of schema version {SCHEMA_VERSION}"
        fix = "start a new run; `report` and `compare` read this one"
        raise UsageError("--resume", f"{folder}, version {version}", expected, fix)
    if stored.run["configuration"].get("mode") == "compiled":
        expected = "a run whose cases name their mode, which this one's do not"
        fix = "start a new run; `report` and `compare` read this one"
        raise UsageError("--resume", str(folder), expected, fix)
    # A run of a release without this option timed --probe-steps and no more, and goes on so.
    config = validate(RunConfig, {"probe_precision": 0.0} | stored.run["configuration"])
    _refuse_other_options(config, options)
    more = {name: value for name, value in given(options).items() if name in MORE}
    config = validate(RunConfig, asdict(config) | more)
    stored.run["configuration"] = asdict(config)
    _refuse_other_machine(stored.run["environment"])
    reopened = _open_again(folder, stored)
    stored.run["state"] = "running"
    stored.run.setdefault("resumed", []).append(
        {"time": files.utc_now(), "reopened": sorted(reopened),
         "blocks": len(stored.run["blocks"])}
    )
    return config, stored


def _refuse_other_options(config: RunConfig, options: dict[str, Any]) -> None:
    before = asdict(config)
    asked = asdict(validate(RunConfig, before | options))
    for key in given(options).keys() - set(MORE):
        if asked[key] != before[key]:
            fix = "drop the option, or start a new run"
            expected = f"{before[key]!r}, as the run was started with"
            raise UsageError(f"--{key.replace('_', '-')}", asked[key], expected, fix)


def _refuse_other_machine(before: dict[str, Any]) -> None:
    """Refuses another machine or version, because its launches would not be samples of the same
    thing.
    """
    now = description.describe()
    for name in SAME_MACHINE:
        if before[name] != now[name]:
            fix = "resume it where it began, or start a new run"
            raise UsageError(f"--resume: {name}", now[name], f"{before[name]!r}", fix)


def _open_again(folder: Path, stored: StoredRun) -> set[str]:
    """Drops failures, and launches that no reference could prove.

    Returns the ids of their cases.
    """
    reopened = set()
    store = SampleStore(folder)
    for launch in store.launches():
        path = files.outcome_path(folder, launch)
        if not path.exists():
            files.write_json(path, launch.outcome)
    for result in stored.results:
        unproven = result.status == "refused" and result.parity is None
        if unproven:
            store.forget(result.case.case_id)
        if unproven or not result.good:
            result.launches, result.cores, result.reduced = [], [], {}
        if unproven or result.status in FAILED:
            reopened.add(result.case.case_id)
        if unproven or result.status in (*FAILED, "unsupported"):
            result.status, result.reason = "ok", ""
        result.stopped = ""
        result.probes = [] if unproven else [p for p in result.probes if p.status != FAILED_PROBE]
    files.mend_steps(folder, store)
    store.close()
    return reopened
