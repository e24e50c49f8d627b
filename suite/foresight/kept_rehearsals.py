"""Rehearsals as a user's file keeps them: the case that was trained, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from suite.contract.case import Case
from suite.contract.registry import traits_of
from suite.contract.row import Row
from suite.foresight.automatic import plan_of
from suite.foresight.kept_files import read_kept, write_kept
from suite.foresight.rehearsal import Calls, Rehearsal
from suite.foresight.workloads import model_of_workload

SCHEMA = 1


@dataclass(frozen=True)
class KeptRehearsal:
    """What was measured of a shallow model.

    Attributes:
        case: The training; its ``depth`` says how many units it had.
        measured_at: When, as ISO 8601.
        step_s: Seconds of a step.
        transfer_s: T_comm's transfer in a step; 0 on one device.
        call_s: Seconds of the mean call inside the step, by the fit to the run's own calls.
        exposed_s: T_comm that nothing hid.
        calls: Communications of a step.
        call_bytes: Mean bytes of one.
    """

    case: Case
    measured_at: str
    step_s: float
    transfer_s: float = 0.0
    call_s: float = 0.0
    exposed_s: float = 0.0
    calls: float = 0.0
    call_bytes: float = 0.0

    @property
    def key(self) -> tuple[str, ...]:
        """What a newer rehearsal of the same training replaces."""
        return self.case.case_id, self.case.workload

    def of(self, framework: str, engine: str, mode: str, device: str) -> bool:
        """Whether it was made by this framework, engine and mode on this kind of device."""
        mine = (self.case.framework, self.case.engine, self.case.mode, self.case.device)
        return mine == (framework, engine, mode, device)

    def about(self, workload: str, size: str) -> bool:
        """Whether it is of a part of this workload."""
        return (self.case.workload, self.case.size) == (workload, size)

    @property
    def rehearsal(self) -> Rehearsal:
        """The same as what corrects predictions."""
        return Rehearsal(plan_of(self.case), model_of_workload(self.case.spec), self.step_s,
                         self._calls() if self.calls and self.case.devices > 1 else None)

    def _calls(self) -> Calls:
        """How many calls gradients need depends on what ends a call.

        Either so many bytes that the framework starts another bucket, or whatever was ready when
        the library looked; then a larger model needs as many more calls as it has more bytes.
        """
        sent = self.calls * self.call_bytes
        bucket = traits_of(self.case.framework).gradient_bucket_bytes
        first, each = (self.calls - sent / bucket, bucket) if bucket else (0.0, self.call_bytes)
        return Calls(self.transfer_s, self.call_s, self.call_bytes, self.exposed_s, first, each)


def rehearsal_of(case: Case, row: Row, measured_at: str) -> KeptRehearsal:
    """What a proven row of a shallow model says.

    It is the launch that was disturbed least: other programs only add to it, and a rehearsal has
    too few launches for a median that leaves them out.

    Args:
        case: The case of the row.
        row: The row; its communication is left out where its calls could not be told apart.
        measured_at: When, as ISO 8601.
    """
    step_s = min(filter(None, row.launch_step_s))
    transfers = [one for one in row.launch_samples.get("t_comm_transfer_s", ()) if one]
    if not transfers or row.latency_run_s is None:
        return KeptRehearsal(case, measured_at, step_s)
    transfer_s, count = min(transfers), row.comm_count or 0.0
    size = row.comm_bytes or 0.0
    call_s = row.latency_run_s + (row.alpha_run_s_per_byte or 0.0) * size
    lower = transfer_s / (row.t_comm_transfer_s or transfer_s)
    return KeptRehearsal(
        case, measured_at, step_s, transfer_s, call_s=lower * call_s,
        exposed_s=lower * (row.t_comm_exposed_s or 0.0), calls=count, call_bytes=size,
    )


def write_rehearsals(path: Path, kept: Sequence[KeptRehearsal]) -> None:
    """Stores rehearsals."""
    write_kept(path, "rehearsals", SCHEMA, [asdict(one) for one in kept])


def read_rehearsals(path: Path) -> list[KeptRehearsal]:
    """The rehearsals that ``write_rehearsals`` stored; none if there is no such file.

    Raises:
        UsageError: The file is not one of these.
    """
    return read_kept(
        path, "rehearsals", SCHEMA,
        lambda one: KeptRehearsal(**one | {"case": Case.stored(one["case"])}),
        "delete it, and rehearse again: python -m suite predict --rehearse")
