"""What one rank writes of a launch, how it is read again, and in which order the ranks come."""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CommEvent:
    """One communication as one device sees it: payload bytes, seconds on the clock of its trace.

    ``kind`` is all_reduce, all_gather, reduce_scatter, broadcast or send_recv; ``device`` counts
    the devices of a process that drives several. ``key`` names the communication alike on every
    device that takes part, and only once a step. ``role`` is ``member`` of a collective, or
    ``recv`` or ``send`` of a hop. ``start_s`` is when the device was ready for it: a member
    arrives, a receiver has nothing else to do, a sender has the tensor. ``end_s`` is when the
    result can be used there (a sender's own end is not used).
    """

    kind: str
    payload_bytes: int
    start_s: float
    end_s: float
    device: int = 0
    key: str = ""
    role: str = "member"


Busy = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class StepTrace:
    """What probes saw of one step, in seconds.

    ``busy[d]`` is the compute clock of device ``d`` of this process: rising points (time, compute
    seconds so far), from the step's start to its end and at least at both ends of every event.
    Time waited or spent communicating does not advance it; two threads of one device that compute
    at once advance it twice as fast. Empty where the framework gives no honest figure; ``missing``
    then says why, beginning with what is missing (``T_i: …``). ``seconds`` is the wall time of the
    step itself, without attaching the probes and reading them. ``queued`` are points of another
    clock, (time, seconds so far) that this process's communicating threads were ready to run and
    had no core; empty where the kernel does not tell or no thread of the process communicates.
    ``operations_s`` are the seconds of the framework's own operations, each without those that it
    calls, as a profiler saw them on a CPU that drives one device; 0 where it was not asked.
    """

    events: Sequence[CommEvent] = ()
    busy: Sequence[Busy] = ()
    missing: str = ""
    seconds: float = 0.0
    queued: Sequence[tuple[float, float]] = ()
    operations_s: float = 0.0

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> StepTrace:
        """A trace as ``asdict`` wrote it."""
        events = [CommEvent(**event) for event in written["events"]]
        return cls(events, written["busy"], written["missing"], written.get("seconds", 0.0),
                   written.get("queued", ()), written.get("operations_s", 0.0))


@dataclass
class RankRecord:
    """What one rank writes as ``rank-N.json``: raw samples only, seconds and bytes.

    Four passes, each with its steps' wall times: clean (``step_seconds``), timed with probes,
    traced under the profiler, silent with communication off. The last three are empty in a launch
    without probes. ``figures`` are further figures of the rank by the name of their column, such as
    what the session reports beside the fields here; 0 in a field means that it was not measured.
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

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> RankRecord:
        """A record as a rank wrote it; fields that another release wrote keep their defaults."""
        known = {name: value for name, value in written.items() if name in RECORD_FIELDS}
        for name in ("traces", "profiles"):
            if known.get(name):
                known[name] = [StepTrace.read(trace) for trace in known[name]]
        return cls(**known)

    def figure(self, column: str) -> float | None:
        """What this rank measured for a column of the row; None where it did not."""
        return getattr(self, column, None) or self.figures.get(column) or None


# Entry of a ledger, for what its launch has no figures of probes.
UNPROBED = "unprobed"
RECORD_FIELDS: tuple[str, ...] = tuple(one.name for one in fields(RankRecord))
Launch = Sequence[RankRecord]


@dataclass(frozen=True)
class FrontierProbe:
    """One launch with one global batch; a row of ``frontier.csv``.

    ``peak_memory_bytes`` is the largest process's (CPU: resident set) or allocator's and
    ``limit_bytes`` what such a process may hold; both, and the median step, None where unknown.
    """

    case_id: str
    batch: int
    status: str
    reason: str = ""
    peak_memory_bytes: int | None = None
    step_time_s: float | None = None
    limit_bytes: int | None = None


def read_records(written: Sequence[Mapping[str, Any]]) -> list[RankRecord]:
    """The records of a launch's ranks, from the JSON objects that they wrote."""
    return [RankRecord.read(record) for record in written]


def record_paths(folder: Path) -> list[Path]:
    """The ``rank-N.json`` files of a launch in the order of the ranks: 2 comes before 10."""
    return sorted(folder.glob("rank-*.json"), key=lambda path: int(path.stem.partition("-")[2]))


def clean_path(folder: Path, rank: int) -> Path:
    """Where a rank leaves what it has measured before the passes with probes."""
    return folder / f"clean-{rank}.json"


def read_clean(folder: Path, ranks: int) -> list[dict[str, Any]]:
    """What every rank had measured before the passes with probes; empty unless all had.

    Raises:
        ValueError: A record is truncated, or no JSON object.
    """
    paths = [clean_path(folder, rank) for rank in range(ranks)]
    return [_read_record(path) for path in paths] if all(map(Path.exists, paths)) else []


def read_launch(folder: Path) -> list[dict[str, Any]]:
    """What every rank of a launch wrote, as JSON objects, in the order of the ranks.

    Raises:
        ValueError: A record is truncated, or no JSON object.
    """
    return [_read_record(path) for path in record_paths(folder)]


def _read_record(path: Path) -> dict[str, Any]:
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"the record {path.name} is no whole JSON ({error})") from error
    if not isinstance(written, dict):
        raise ValueError(f"the record {path.name} is no JSON object")
    return written
