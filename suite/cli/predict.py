"""``python -m suite predict``: what ways of splitting would take, without running them."""

from __future__ import annotations

import json
from typing import Any

from suite.cli.console import printer
from suite.cli.stored import Subject, machine_here, rehearsals_here
from suite.config.foresight import ForesightConfig
from suite.config.validation import from_environment, validate
from suite.contract.workloads import DEFAULT_SIZES, Workload, sized_workload
from suite.foresight.fitting import Posterior
from suite.foresight.hardware import find_device
from suite.foresight.measured import Constants
from suite.foresight.question import Answer, Wish, answer, asked_plans, named_device
from suite.report.foresight import predicted_rows, predicted_table

HERE = "here"


def predict_ways(options: dict[str, Any], as_json: bool) -> int:
    """Prints the best way of each kind; returns the exit code."""
    config = validate(ForesightConfig, from_environment(ForesightConfig) | options)
    found = asked(config)
    if as_json:
        print(json.dumps({"machine": found.posterior.stack.machine.name,
                          "rows": predicted_rows(found)}, allow_nan=False))
        return 0
    console = printer()
    console.print(predicted_table(found, peak_of(config)))
    console.print(provenance(config, found))
    return 0


def asked(config: ForesightConfig) -> Answer:
    """Predicts everything that the options ask for."""
    workload, posterior = workload_of(config), machine_of(config)
    return answer(workload, asked_plans(workload, wish_of(config)), posterior)


def wish_of(config: ForesightConfig) -> Wish:
    """Which plans the options ask for."""
    return Wish(
        config.devices, strategies=config.strategy, schedules=config.schedule,
        micro_batches=config.micro_batches, recomputes=config.recompute,
        shardings=config.sharding,
    )


def workload_of(config: ForesightConfig) -> Workload:
    """The workload in its size and batch."""
    size = config.size or DEFAULT_SIZES.get(config.workload, "")
    return sized_workload(config.workload, size, config.batch or 0)


def machine_of(config: ForesightConfig) -> Posterior:
    """Constants of the machine that was asked for."""
    if config.machine == HERE:
        return machine_here(config.framework, config.mode, subject_of(config))[1]
    return named_device(config.machine, config.dtype, config.node_devices, config.interconnect)


def subject_of(config: ForesightConfig) -> Subject:
    """Workload and size, which a rehearsal has to be of."""
    return config.workload, workload_of(config).size


def rehearsed_text(known: Constants, subject: Subject) -> str:
    """What the predictions start from beside constants, and what that means."""
    made = rehearsals_here(known, subject)
    if not made:
        return ("Nothing was rehearsed: `python -m suite predict --rehearse` trains a shallow part "
                "of the model in every way, after which predictions err less.")
    last = made[-1]
    return (f"Ways marked `rehearsed` start from trainings of the first {last.case.depth} units on "
            f"{last.measured_at}; `in part`, from those of another schedule, batch or number "
            "of devices, or of each of their axes.")


def peak_of(config: ForesightConfig) -> float:
    """Datasheet's peak of a named device."""
    dtype = "bf16" if config.dtype == "auto" else config.dtype
    return 0.0 if config.machine == HERE else find_device(config.machine).peak(dtype)


def provenance(config: ForesightConfig, found: Answer) -> str:
    """Where the constants come from, and what that means for the figures."""
    if config.machine == HERE:
        known = machine_here(config.framework, config.mode, subject_of(config))[0]
        earlier = "" if not known.lacking else (
            f" An earlier release measured them, without {', '.join(known.lacking)}: `python -m "
            "suite predict --calibrate` measures these as well.")
        return (f"{known.name}: constants measured here on {known.measured_at} "
                f"({len(found.plans):,} configurations considered).{earlier} "
                f"{rehearsed_text(known, subject_of(config))}")
    return (f"{find_device(config.machine).name}: by its datasheet, never measured here; the range "
            "is what such machines differ by. `python -m suite predict --calibrate` measures this "
            f"machine. {len(found.plans):,} configurations considered; the best of each kind, and "
            f"with --json all {len(found.shown)} kinds.")
