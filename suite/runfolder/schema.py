"""What ``run.json`` and the ranks' records hold, as far as readers rely on it.

Older releases wrote less and later ones may write more, so nothing is required here and what is not
named is kept as it is. What is named has the right type, and numbers are finite and of a size that
can be computed with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from suite.runfolder.validated import checked

# A whole number stays whole, and what is not finite is no number. Each kind has its own bounds:
# those of a union are checked in Python, which takes most of the time of reading a record.
Number = Annotated[float, Field(ge=-1e30, le=1e30)] | Annotated[int, Field(ge=-10**30, le=10**30)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Devices = Annotated[int, Field(ge=0, le=10**5)]


class Part(BaseModel):
    """An object of a file; members that are not named are kept."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)


class GpuModel(Part):
    """A GPU of the machine."""

    name: str = ""
    datasheet_flops_s: dict[str, Number] = {}


class Environment(Part):
    """The machine and its software."""

    platform: str = ""
    python: str = ""
    processor: str = ""
    cores: Count = 0
    cpu_quota: Number | None = None
    memory_bytes: Number = 0
    gpus: Count = 0
    gpu_models: list[GpuModel] = []
    load_average: list[Number] = []
    versions: dict[str, str | None] = {}


class Configuration(Part):
    """Those options of a run that its readers look at."""

    precision: Number | None = None
    seed: str | Count = 0
    data: str = ""
    mode: str | list[str] = ""
    python: dict[str, str] = {}


class Rate(Part):
    """A core before a block."""

    device: str
    matmul_flops_s: Number
    copy_bytes_s: Number


class Neighbour(Part):
    """A program that kept cores busy beside a block."""

    name: str
    pid: Count
    cores: Number


class BlockPart(Part):
    """The conditions of a block."""

    block: Count
    rates: list[Rate]
    seconds: Number = 0
    steal_share: Number | None = None
    load: Number = 0
    frequency_mhz: Number | None = None
    gpus: list[dict[str, Any]] = []
    others_cores: Number | None = None
    neighbours: list[Neighbour] = []


class CasePart(Part):
    """A case, whose fields ``suite.contract.case`` names."""

    framework: str
    engine: str
    strategy: str
    variant: str
    workload: str
    size: str
    data: str
    device: str
    devices: Devices
    dtype: str = ""
    mode: str = ""
    steps: Count = 0
    seed: Count = 0
    probe_steps: Count = 0
    probe_precision: Number = 0
    warmup_limit: Count = 0
    timeline: bool = False
    interface: str = ""
    statistics_groups: Count = 1
    mesh: str = ""
    global_batch: Count = 0
    memory_limit_bytes: Count = 0
    oversubscribe: bool = False
    device_speeds: list[Annotated[float, Field(gt=0, lt=1e30)]] = []
    accumulate: Annotated[int, Field(ge=1, le=10**9)] = 1
    recompute: str = ""
    balance: str = ""
    start: str = ""
    padded: Count = 0
    scaling: str = ""
    transport: str = ""
    cut: list[Annotated[int, Field(ge=1, le=10**6)]] = []
    hosts: Annotated[int, Field(ge=1, le=10**6)] = 1


class Entry(Part):
    """A case of the matrix, and what became of it."""

    case: CasePart
    oversubscribed: bool = False
    stopped: str = ""
    status: str = "ok"
    reason: str = ""


class CandidatePart(Part):
    """A way that ``--strategy auto`` looked at."""

    question: str
    case_id: str
    way: str
    fate: Literal["run", "excluded", "too large", "slower"]
    reason: str = ""
    predicted_s: Number | None = None
    low_s: Number | None = None
    high_s: Number | None = None
    peak_bytes: Number | None = None


class VerdictPart(Part):
    """A verdict of the gates; an error may be infinite."""

    status: str
    error: float
    reason: str


class Proof(Part):
    """How the proof of a case in float32 ended; its ``parity`` is a verdict."""

    status: str
    reason: str = ""
    parity: VerdictPart | None = None


class RunFile(Part):
    """``run.json``."""

    run_id: str = ""
    state: str = ""
    started: str = ""
    environment: Environment = Environment()
    configuration: Configuration = Configuration()
    command_line: list[str] = []
    plan: list[list[str]] = []
    blocks: list[BlockPart] = []
    cases: list[Entry] = []
    proofs: dict[str, Proof] = {}
    candidates: list[CandidatePart] = []
    dropped_environment: list[str] = []
    settings: dict[str, str] = {}
    side: str = ""
    links_measured: bool = False
    spent_s: Number = 0


class FailedLaunch(Part):
    """A launch of a side that left its block without a pair."""

    block: Count = 0
    status: str
    reason: str


class SideCase(CasePart):
    """The case of a side, with what its line says."""

    dtype: str
    mode: str


class Side(Part):
    """One side of an A/B run."""

    settings: dict[str, str]
    case: SideCase
    python: dict[str, str] = {}
    status: str = ""
    problem: str
    failed: list[FailedLaunch]
    folder: str = ""


class Sides(Part):
    """Both sides of an A/B run."""

    a: Side
    b: Side


class AbFile(Part):
    """``run.json`` of an A/B run."""

    run_id: str
    state: str
    stopped: str
    same: bool
    differences: list[str]
    sides: Sides


class Event(Part):
    """A communication that a probe saw."""

    kind: str
    payload_bytes: Number
    start_s: Number
    end_s: Number
    device: Count = 0
    key: str = ""
    role: str = ""


class Trace(Part):
    """A step that a probe saw."""

    events: list[Event]
    busy: list[list[tuple[Number, Number]]] = []
    missing: str = ""
    seconds: Number = 0


class RecordFile(Part):
    """``rank-N.json``."""

    rank: Count
    step_seconds: list[Number] = []
    timed_step_seconds: list[Number] = []
    traced_step_seconds: list[Number] = []
    silent_step_seconds: list[Number] = []
    warmup_seconds: list[Number] = []
    losses: list[float] = []
    traces: list[Trace] = []
    profiles: list[Trace] = []
    peak_memory_bytes: Number = 0
    affinity: list[Count] = []
    ledger: dict[str, str] = {}
    figures: dict[str, Number] = {}
    transports: list[str] = []
    received_bytes: dict[str, Count] = {}


def checked_part(path: Path, model: type[Part], content: dict[str, Any]) -> dict[str, Any]:
    """Checks the named members of what was read; raises :class:`UsageError` if one is wrong."""
    return checked(path, "", model, content).model_dump(exclude_unset=True)
