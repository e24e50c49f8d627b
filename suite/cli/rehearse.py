"""``python -m suite predict --rehearse``: trains the first units of a model in every way, and keeps
what its steps took, so that predictions of the whole model start from there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from suite.cli.automatic import measure_missing
from suite.cli.console import live, printer
from suite.cli.run import INTERRUPTED
from suite.cli.stored import (
    check_writable,
    constants_of_case,
    read_or_put_aside,
    rehearsals_path,
)
from suite.config.foresight import ForesightConfig
from suite.config.matrix import build_matrix
from suite.config.model import RunConfig
from suite.config.resolution import resolve
from suite.config.validation import from_environment, validate
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.formats import seconds
from suite.contract.registry import engines_named, label
from suite.contract.splits.strategies import STRATEGIES
from suite.contract.workloads import DEFAULT_SIZES
from suite.foresight.kept_rehearsals import (
    KeptRehearsal,
    read_rehearsals,
    rehearsal_of,
    write_rehearsals,
)
from suite.foresight.plans import plans_of
from suite.foresight.question import way
from suite.foresight.rehearsal import Rehearsal
from suite.foresight.step import predict_by_constants
from suite.launch.signals import undisturbed
from suite.machine import devices
from suite.measure.rehearsing import rehearsal_cases, rehearsal_depth
from suite.measure.runner import Runner
from suite.runfolder import files

LAUNCHES, PROBED_STEPS, STEPS = 2, 10, 10
HEADINGS = ("framework", "way", "samples", "step", "by constants", "factor", "calls", "each")


def rehearse(options: dict[str, Any], frameworks: Sequence[str]) -> int:
    """Rehearses, prints and stores; returns 1 if nothing could be rehearsed.

    What had been trained when it is interrupted is kept, and 130 returned.

    Raises:
        UsageError: The model has no shallower one, or an option is wrong.
    """
    config = validate(ForesightConfig, from_environment(ForesightConfig) | options)
    check_writable("--rehearse", rehearsals_path())
    earlier = read_or_put_aside(rehearsals_path(), read_rehearsals)
    asked = engines_named(frameworks)
    run = run_config(config, list(asked))
    cases = [case for case in build_matrix(run, devices.gpu_count())
             if case.engine in asked[case.framework]]
    depth = rehearsal_depth(cases)
    if not depth:
        raise UsageError(
            "--rehearse", f"{config.workload}, {len(cases[0].spec.units())} units",
            "a model that is deeper than its rehearsal, a unit or two for each stage",
            "it is as short as its rehearsal would be: run it")
    measure_missing(run, cases)
    found, missing, state = train(run, rehearsal_cases(cases, depth))
    new = {one.key for one in found}
    write_rehearsals(rehearsals_path(),
                     [*(one for one in earlier if one.key not in new), *found])
    console = printer()
    console.print(rehearsal_table(found, f"{depth} of {len(cases[0].spec.units())} units"))
    for name, reason in missing.items():
        console.print(f"{name}: {reason}")
    console.print(str(rehearsals_path()), soft_wrap=True)
    if state != "complete":
        return INTERRUPTED
    return 0 if found else 1


def run_config(config: ForesightConfig, frameworks: Sequence[str]) -> RunConfig:
    """The run that a rehearsal is, of the ways that were asked for and of one device."""
    return resolve("standard", None, {
        "framework": list(frameworks), "strategy": _strategies(config),
        "workload": [config.workload],
        "size": config.size or DEFAULT_SIZES.get(config.workload, ""), "batch": config.batch,
        "devices": [config.devices], "mode": [config.mode], "dtype": ["float32"],
        "repeats": LAUNCHES, "leader_repeats": 0, "probes": LAUNCHES,
        "probe_steps": PROBED_STEPS, "probe_precision": 0.0, "steps": STEPS, "link": False,
        "python": config.python,
    })


def _strategies(config: ForesightConfig) -> list[str]:
    return list(dict.fromkeys(["single", *(config.strategy or STRATEGIES)]))


def train(
    config: RunConfig, cases: Sequence[Case]
) -> tuple[list[KeptRehearsal], Mapping[str, str], str]:
    """Trains every case, each proven against its reference.

    Returns:
        What was measured, case to reason where nothing was, and ``complete`` or ``interrupted``.
    """
    state = "complete"
    with tempfile.TemporaryDirectory() as folder, live(Console(stderr=True)) as show:
        path = files.create_run_folder(Path(folder), "rehearsal")
        runner = Runner(config, list(cases), path, show)
        try:
            runner.execute()
        except KeyboardInterrupt:
            state = "interrupted"
        with suppress(KeyboardInterrupt), undisturbed():  # the command is over in a moment
            rows = {row.case_id: row for row in runner.finish(state)}
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    found, missing = [], {}
    for case in cases:
        row = rows.get(case.case_id)
        if row and row.step_time_s and row.parity == "ok":
            found.append(rehearsal_of(case, row, now))
        else:
            missing[case.case_id] = row.reason if row and row.reason else state
    return found, missing, state


def rehearsal_table(found: Sequence[KeptRehearsal], part: str) -> Table:
    """Each rehearsed step beside what its parts are predicted to take, and a call inside it."""
    table = Table(*HEADINGS, title=f"Rehearsed with {part}")
    for one in found:
        case, rehearsal = one.case, one.rehearsal
        parts = _seconds_by_constants(rehearsal, case)
        cells = (
            label(case.framework, case.engine), way(rehearsal.plan),
            str(case.spec.global_batch), seconds(one.step_s), seconds(parts) if parts else "",
            f"{one.step_s / parts:.2f}" if parts else "",
            f"{one.calls:.0f}" if one.calls else "", seconds(one.call_s) if one.calls else "",
        )
        table.add_row(*cells)
    return table


def _seconds_by_constants(rehearsal: Rehearsal, case: Case) -> float | None:
    """What the machine's constants alone say of a rehearsed step; None if they are not known."""
    known = constants_of_case(case)
    if known is None:
        return None
    plans = plans_of([rehearsal.plan])
    return float(predict_by_constants(rehearsal.model, plans, known.stack).step_s[0])
