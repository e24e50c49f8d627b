"""What the ranks of a launch write, and how it is read again in the order of the ranks."""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from suite.contract.case import SCHEMA_VERSION


@dataclass(frozen=True)
class CommEvent:
    """One communication as one device sees it. Times are seconds on the clock of its trace.

    Attributes:
        kind: all_reduce, all_gather, reduce_scatter, broadcast or send_recv.
        payload_bytes: Size of the payload.
        start_s: When the device was ready for it: a member of a collective has arrived, a receiver
            has nothing else to do, a sender has the tensor.
        end_s: When the device can use the result. A sender's own end is never used.
        device: Number of the device, in a process that drives several.
        key: Name of the communication. It is the same on every device that takes part, and no
            other communication of the step has it.
        role: ``member`` of a collective, or ``send`` or ``recv`` of a point-to-point transfer.
    """

    kind: str
    payload_bytes: int
    start_s: float
    end_s: float
    device: int = 0
    key: str = ""
    role: str = "member"


# A compute clock: points (time, seconds of compute so far).
Busy = Sequence[tuple[float, float]]
# What a communication library did by its own timeline: HANDLED or CARRIED, start and end in
# seconds. It handles a communication from taking it up, when it has found all members ready, until
# it is done; within that the transport carries it, and what lies around are copies.
Stage = tuple[str, float, float]
HANDLED, CARRIED = "handled", "carried"


@dataclass(frozen=True)
class StepTrace:
    """What the probes of one process saw of one step, in seconds.

    Attributes:
        events: Its communications.
        busy: ``busy[d]`` is the compute clock of device ``d``: rising points (time, compute
            seconds so far) from the start of the step to its end, with points at least at both
            ends of every event. Waiting and communicating do not advance it; two threads of a
            device that compute at once advance it twice as fast. Empty if the framework gives no
            honest figure.
        missing: Why there is no clock, beginning with what is missing, such as ``T_i: …``.
        seconds: Wall time of the step, without attaching the probes and reading them.
        queued: Another clock: points (time, seconds so far) in which the threads of this process
            that communicate were ready to run but had no core. Empty if the kernel does not tell,
            or no thread of this process communicates.
        operations_s: Time of the framework's own operations, each without the operations that it
            calls, as a profiler saw them on a CPU that drives one device; 0 if it was not
            measured.
        stages: What the communication library did in a traced step, by its own timeline. Empty on
            ranks that have none.
        copies_s: Time of the copies that the framework makes within its communications in a traced
            step, as its profiler saw them; 0 if it makes none or none was measured.
        asked: The communications of a step with ``stages`` as the suite's probes saw them, on the
            same clock.
    """

    events: Sequence[CommEvent] = ()
    busy: Sequence[Busy] = ()
    missing: str = ""
    seconds: float = 0.0
    queued: Sequence[tuple[float, float]] = ()
    operations_s: float = 0.0
    stages: Sequence[Stage] = ()
    asked: Sequence[CommEvent] = ()
    copies_s: float = 0.0

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> StepTrace:
        """Makes a trace from what ``asdict`` made of one."""
        events = [CommEvent(**event) for event in written["events"]]
        return cls(
            events, written["busy"], written["missing"], written.get("seconds", 0.0),
            queued=written.get("queued", ()), operations_s=written.get("operations_s", 0.0),
            stages=[(name, start, end) for name, start, end in written.get("stages", ())],
            asked=[CommEvent(**event) for event in written.get("asked", ())],
            copies_s=written.get("copies_s", 0.0),
        )


@dataclass
class RankRecord:
    """What one rank writes as ``rank-N.json``: raw samples only, in seconds and bytes.

    A launch has four passes, each with the wall times of its steps: clean, timed with the suite's
    probes, traced under the profiler, and silent with communication off. The last three are empty
    in a launch without probes. 0 means that a figure was not measured.

    Attributes:
        rank: Number of the rank.
        step_seconds: Wall times of the clean steps.
        timed_step_seconds: Wall times of the steps with probes.
        traces: What the probes saw of each of those steps.
        traced_step_seconds: Wall times of the steps under the profiler.
        profiles: What the profiler saw of each of those steps.
        silent_step_seconds: Wall times of the steps without communication.
        warmup_seconds: Wall times of the steps before the first clean one.
        losses: Losses of the first steps, which are compared with the reference.
        open_seconds: How long it took to join the group and build the session.
        peak_memory_bytes: Peak memory during warm-up and clean steps.
        device_memory_bytes: Memory in use on the rank's GPU after the clean steps.
        matmul_flops_s: Rate of matrix products on one device.
        steady: Whether the warm-up ended because step times no longer changed.
        affinity: Cores that the process may run on.
        ledger: This rank's entries of the fairness ledger.
        figures: Further figures by the name of their column, such as what the session reports.
        host: Name of the host that the rank ran on.
        transports: What the communication library said of its connections, as
            ``suite.contract.nccl.words`` has it; empty of libraries that say nothing.
        received_bytes: Bytes that the network interfaces and RDMA ports of the rank's host received
            during the clean steps, whoever sent them.
        phases: Seconds that the process spent in each phase, from the first that it entered.
        shares: Only of rank 0 and of dynamic balance: each device's samples, or the units of its
            stage, in every step from the first of the proof to the last clean one.
        share_busy_seconds: Likewise the seconds that each device was busy with them; of some steps
            less, since they are told afterwards.
    """

    rank: int
    step_seconds: MutableSequence[float] = field(default_factory=list)
    timed_step_seconds: list[float] = field(default_factory=list)
    traces: list[StepTrace] = field(default_factory=list)
    traced_step_seconds: list[float] = field(default_factory=list)
    profiles: list[StepTrace] = field(default_factory=list)
    silent_step_seconds: list[float] = field(default_factory=list)
    warmup_seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    open_seconds: float = 0.0
    peak_memory_bytes: int = 0
    device_memory_bytes: int = 0
    matmul_flops_s: float = 0.0
    steady: bool = False
    affinity: list[int] = field(default_factory=list)
    ledger: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    host: str = ""
    transports: list[str] = field(default_factory=list)
    received_bytes: dict[str, int] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    shares: list[list[int]] = field(default_factory=list)
    share_busy_seconds: list[list[float]] = field(default_factory=list)

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> RankRecord:
        """Makes a record from a rank's JSON; fields that are missing keep their defaults."""
        known = {name: value for name, value in written.items() if name in RECORD_FIELDS}
        for name in ("traces", "profiles"):
            if known.get(name):
                known[name] = [StepTrace.read(trace) for trace in known[name]]
        return cls(**known)

    def figure(self, column: str) -> float | None:
        """Returns what this rank measured for a column of the row; None if it measured nothing.

        A field of the record is 0 where nothing was measured; what a session adds may be 0.
        """
        return getattr(self, column, None) or self.figures.get(column)


RECORD_FIELDS: dict[str, None] = dict.fromkeys(field.name for field in fields(RankRecord))
# Entry of a ledger that says why its launch has no figures from probes.
UNPROBED = "unprobed"
# The records of all ranks of one launch, in the order of the ranks.
Launch = Sequence[RankRecord]


@dataclass(frozen=True)
class FrontierProbe:
    """One launch that tries whether a global batch fits into memory; a row of ``frontier.csv``.

    Attributes:
        case_id: The case whose limit is searched.
        batch: The global batch that was tried.
        status: ok, oom, timeout or failed.
        reason: Why it failed.
        peak_memory_bytes: Peak of the largest process: resident set on CPUs, allocator on GPUs.
            None if unknown.
        step_time_s: Median step; None if unknown.
        limit_bytes: What such a process was allowed to hold; None if unknown.
    """

    case_id: str
    batch: int
    status: str
    reason: str = ""
    peak_memory_bytes: int | None = None
    step_time_s: float | None = None
    limit_bytes: int | None = None


# What a device has a share of: of the batch, or of the model.
SAMPLES, UNITS = "samples", "units"


@dataclass(frozen=True)
class ShareCourse:
    """Shares of a batch, or stages of a pipeline, in some steps of a launch.

    Attributes:
        steps: Numbers of the steps.
        shares: Each device's samples, or units of the model, in these steps.
        busy_seconds: Seconds that each device was busy with them.
        kind: What is shared: ``samples`` or ``units``.
    """

    steps: list[int]
    shares: list[list[int]]
    busy_seconds: list[list[float]]
    kind: str = SAMPLES


def read_records(written: Sequence[Mapping[str, Any]]) -> list[RankRecord]:
    """Reads the records of a launch's ranks from the JSON objects that they wrote."""
    return [RankRecord.read(record) for record in written]


def record_paths(folder: Path) -> list[Path]:
    """Returns a launch's ``rank-N.json`` files in the order of the ranks: 2 before 10."""
    return sorted(folder.glob("rank-*.json"), key=_rank_of)


def _rank_of(path: Path) -> int:
    return int(path.stem.partition("-")[2])


def clean_path(folder: Path, rank: int) -> Path:
    """Returns the file in which a rank leaves what it measured before the passes with probes."""
    return folder / f"clean-{rank}.json"


def read_clean(folder: Path, ranks: int) -> list[dict[str, Any]]:
    """Reads what the ranks measured before the passes with probes; empty unless all left it.

    Raises:
        ValueError: A record is truncated, or no JSON object.
    """
    paths = [clean_path(folder, rank) for rank in range(ranks)]
    return [_read_record(path) for path in paths] if all(map(Path.exists, paths)) else []


def read_launch(folder: Path) -> list[dict[str, Any]]:
    """Reads what every rank of a launch wrote, as JSON objects in the order of the ranks.

    Raises:
        ValueError: A record is truncated, is no JSON object, or is that of another rank or of
            another version.
    """
    return [_read_record(path) for path in record_paths(folder)]


def _read_record(path: Path) -> dict[str, Any]:
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"the record {path.name} is no whole JSON ({error})") from error
    if not isinstance(written, dict):
        raise ValueError(f"the record {path.name} is no JSON object")
    version = written.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise ValueError(f"the record {path.name} is of version {version!r}, this suite writes and "
                         f"reads {SCHEMA_VERSION}: are two releases installed?")
    if written.get("rank") != _rank_of(path):
        raise ValueError(f"the record {path.name} says that it is of rank {written.get('rank')!r}")
    return written
