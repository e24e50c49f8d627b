"""What ``run.json`` must look like wherever it is read: checked once, before anything uses it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import StrictBool, StrictFloat, StrictInt, StrictStr

from suite.analysis.parity import Verdict
from suite.analysis.rows import CaseResult
from suite.contract.case import Case
from suite.runfolder.validated import checked


@dataclass
class Rate:
    """One core in one block; FLOP/s and bytes/s."""

    device: StrictStr
    matmul_flops_s: StrictFloat
    copy_bytes_s: StrictFloat


@dataclass
class Gpu:
    """One GPU at the end of a block."""

    index: StrictInt
    throttle: StrictStr = ""


@dataclass
class Block:
    """The conditions of one block (``suite.machine.calibration.Block``)."""

    rates: list[Rate]
    block: StrictInt
    seconds: StrictFloat = 0.0
    steal_share: StrictFloat | None = None
    load: StrictFloat = 0.0
    frequency_mhz: StrictFloat | None = None
    gpus: list[Gpu] = field(default_factory=list)


@dataclass
class Model:
    """A GPU that the machine had; FLOP/s by number format."""

    name: StrictStr
    datasheet_flops_s: dict[StrictStr, StrictFloat] = field(default_factory=dict)


@dataclass
class Environment:
    """The machine; what is only shown may be anything."""

    gpu_models: list[Model] = field(default_factory=list)
    versions: dict[StrictStr, Any] = field(default_factory=dict)
    cores: StrictInt = 0


@dataclass
class Configuration:
    """The options; early versions wrote other types for some."""

    precision: StrictFloat | None = None
    python: dict[StrictStr, StrictStr] = field(default_factory=dict)


@dataclass
class Proof:
    """How a proof in float32 ended."""

    status: StrictStr
    reason: StrictStr
    parity: Verdict | None = None


@dataclass
class Entry:
    """One case of the matrix, and why it did not run."""

    case: dict[StrictStr, Any]
    oversubscribed: StrictBool = False
    stopped: StrictStr = ""
    status: StrictStr = "ok"
    reason: StrictStr = ""


@dataclass
class RunFile:
    """The entries that readers compute with."""

    run_id: StrictStr = ""
    state: StrictStr = ""
    command_line: list[StrictStr] = field(default_factory=list)
    environment: Environment = field(default_factory=Environment)
    configuration: Configuration = field(default_factory=Configuration)
    blocks: list[Block] = field(default_factory=list)
    cases: list[Entry] = field(default_factory=list)
    proofs: dict[StrictStr, Proof] = field(default_factory=dict)
    plan: list[list[StrictStr]] = field(default_factory=list)


def check_run(path: Path, run: dict[str, Any]) -> None:
    """Raises :class:`UsageError` for the first entry that readers could not compute with."""
    checked(path, "", RunFile, run)


def results_of(path: Path, run: dict[str, Any]) -> list[CaseResult]:
    """Returns the results that ``run.json`` lists, each without its launches.

    Raises:
        UsageError: If a case has a field of another type.
    """
    known = {one.name for one in fields(Case)}
    return [
        CaseResult(
            checked(path, f"cases.{number}.case.", Case,
                    {name: value for name, value in entry["case"].items() if name in known}),
            **{name: entry[name] for name in ("oversubscribed", "stopped", "status", "reason")
               if name in entry},
        )
        for number, entry in enumerate(run["cases"])
    ]
