"""One rank of a launch: it reads the case, trains it, and writes the record.

    python -m suite.ranks.train CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES

``CORES`` is a comma-separated list of the cores that this process is pinned to.
"""

from __future__ import annotations

import importlib
import math
import os
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from suite.contract import nccl
from suite.contract.adapter import Inputs, RankRecord, ReportsFigures, Session
from suite.contract.asked import check_found, network_found
from suite.contract.case import PARITY_STEPS, Case, Rank
from suite.contract.driven import CLEAN_ENDED, CLEAN_KEPT, Driven, Drives, OpensRank
from suite.contract.plugins import adapter_package
from suite.contract.workloads import Weights, initial_weights, parameter_count
from suite.ranks import entry
from suite.ranks.balance import Balance
from suite.ranks.driven import follow, repeated
from suite.ranks.entry import (
    affinity,
    arrive,
    enter,
    last_words,
    leave,
    leave_clean,
    leave_record,
    swift_start,
)
from suite.ranks.probing import MoreSteps
from suite.ranks.traffic import grown, received_bytes

# The warm-up ends when the medians of two successive windows of steps differ by less than this.
WARMUP_WINDOW, WARMUP_TOLERANCE = 10, 0.02
# The median of three steps is not moved by a single disturbed one.
TRACED_STEPS = 3
# Parameters of up to so many bytes are gathered once more after the measured steps.
CHECKED_BYTES = 64 << 20
Clock = Callable[[], float]


def main() -> None:
    """Runs the process."""
    case, inputs_path, rank = arrive()
    with last_words(rank):
        with swift_start():
            module = importlib.import_module(f"{adapter_package(case.framework)}.session")
        # The session is held until the process ends: freeing its DDP can wait for ever for gloo's
        # threads.
        enter(rank, entry.INPUTS)
        _held = run_rank(case, rank, load_inputs(inputs_path, case), module.open_session)
    leave()


def load_inputs(path: Path, case: Case) -> Inputs:
    """Loads the global batches that the harness wrote for the case."""
    with np.load(path) as arrays:
        return Inputs(arrays["features"], arrays["targets"], case.spec.global_batch)


def run_rank(
    case: Case, rank: Rank, inputs: Inputs, open_session: OpensRank,
    clock: Clock = time.perf_counter,
) -> Session | Driven:
    """Opens the session, proves it, measures its passes, and at the end writes ``rank-N.json``.

    A rank whose device rank 0 drives follows that rank instead.

    Args:
        case: What is trained, and how.
        rank: Which of the case's processes this is.
        inputs: The global batches, the same on every rank.
        open_session: The adapter's function that builds the session.
        clock: Returns seconds; tests replace it.

    Returns:
        The session, closed.
    """
    enter(rank, entry.RENDEZVOUS)
    began = clock()
    with swift_start():
        session = open_session(case, rank, initial_weights(case.spec, case.seed), inputs)
    record = RankRecord(rank.index, host=socket.gethostname(), open_seconds=clock() - began)
    if isinstance(session, Driven):
        follow(session, case, rank, record)
    else:
        MeasuredTraining(session, case, rank, clock, record).measure()
    enter(rank, entry.TEARDOWN)
    session.close()
    enter(rank, entry.RECORD)
    record.phases = entry.phases()
    leave_record(rank, asdict(record))
    return session


class MeasuredTraining:
    """Trains step by step in one rank and keeps the record of what it measures."""

    def __init__(
        self, session: Session, case: Case, rank: Rank, clock: Clock,
        record: RankRecord | None = None,
    ) -> None:
        self.session, self.case, self.rank, self.clock = session, case, rank, clock
        self.record = record or RankRecord(rank.index)
        self.drives = session if isinstance(session, Drives) else None
        self.index = 0  # number of the next step
        self.balance = Balance(session, case, self.record, clock)

    def measure(self) -> RankRecord:
        """Proves the case, warms it up, measures clean steps, then the passes with probes if any.

        Returns:
            The complete record of this rank.
        """
        record, session = self.record, self.session
        self.balance.turn(on=True)
        self._prove()
        # Nothing is measured of a session that does not compute as its case says.
        check_found(self.case, session.describe())
        session.reset_peak_memory()
        self._warm_up()
        self._measure_clean()
        self.balance.turn(on=False)
        record.peak_memory_bytes = session.peak_memory_bytes()
        record.device_memory_bytes = session.device_memory_bytes()
        self._refuse_broken_training()
        if self.case.probe_steps:
            self._keep_clean()
            self._measure_timed()
            self._measure_traced()
            # Silent steps leave parameters that mean nothing, so no step may follow them.
            self._measure_silent()
            self._enter(entry.PRODUCTS)
            record.matmul_flops_s = session.matmul_flops_s()
        record.transports = nccl.heard(self.rank.folder, os.getpid())
        record.ledger = session.describe() | entry.how_started()
        check_found(self.case, record.ledger | network_found(record.transports))
        if isinstance(session, ReportsFigures):
            record.figures = session.figures()
        record.figures |= self.balance.figures(self.case.steps)
        record.affinity = affinity()
        if self.drives:
            self.drives.over(repeated(record))
        return record

    def _keep_clean(self) -> None:
        """Leaves what is measured so far: passes with probes hold more memory than clean steps."""
        leave_clean(self.rank, self.record, self.session.describe())
        if self.drives:
            self.drives.moment(CLEAN_KEPT, repeated(self.record))

    def _enter(self, phase: str) -> None:
        enter(self.rank, phase)
        self._tell(phase)

    def _tell(self, moment: str) -> None:
        if self.drives:
            self.drives.moment(moment)

    def _timed(self, step: Callable[[int], object]) -> float:
        """Returns the wall seconds of one step, until its work is finished."""
        began = self.clock()
        step(self.index)
        self.session.synchronize()
        self.balance.after_step()
        seconds = self.clock() - began
        self.balance.between_steps()
        self.index += 1
        return seconds

    def _prove(self) -> None:
        """Trains the first steps and keeps their losses, first gradients and parameters.

        These steps are also the first window of the warm-up. The gradients are those of the first
        real step, because another pass or graph might compute something else than what trains.
        """
        self._enter(entry.PROOF)
        gradients: Weights = {}
        handles: list[object] = []
        for index in range(PARITY_STEPS):
            seconds = self._timed(lambda number: handles.append(self.session.step(number)))
            self.record.warmup_seconds.append(seconds)
            self.record.losses.append(self.session.loss(handles.pop()))
            if index == 0 and self.case.proof_arrays:
                gradients = self.session.gradients()
        if not self.case.proof_arrays:
            return
        parameters = self.session.parameters()
        if self.rank.index == 0:
            _write_evidence(self.rank.folder, gradients, parameters)

    def _warm_up(self) -> None:
        """Runs windows of steps until the last two agree on every rank, or the limit is reached.

        Every rank measures other times, so the group decides together: ranks that disagreed on the
        number of steps would hang in a collective.
        """
        self._enter(entry.WARM_UP)
        seconds = self.record.warmup_seconds
        while not self.record.steady and len(seconds) + WARMUP_WINDOW <= self.case.warmup_limit:
            for _ in range(WARMUP_WINDOW):
                seconds.append(self._timed(self.session.step))
            self.record.steady = self.session.agree(_steady(seconds))

    def _measure_clean(self) -> None:
        self._enter(entry.CLEAN)
        before = received_bytes()
        for _ in range(self.case.steps):
            self.record.step_seconds.append(self._timed(self.session.step))
        self.record.received_bytes = grown(before, received_bytes())
        self._tell(CLEAN_ENDED)

    def _refuse_broken_training(self) -> None:
        """Ends the rank if the measured steps trained on NaN; the proof only saw the first steps.

        One more step is made and its loss read, because nothing is held or read while steps are
        timed. A relu may turn NaN into zero (TensorFlow's does on a CPU), which hides it from the
        loss but not from the parameters, so those are looked at where they are not too large.

        Raises:
            ArithmeticError: If the loss or a parameter is not finite.
        """
        if not all(map(math.isfinite, self.record.losses)):
            return  # the proof refuses the case, and says how far it is from the reference
        loss = self.session.loss(self.session.step(self.index))
        self.index += 1
        if not math.isfinite(loss):
            raise ArithmeticError(f"the loss after {self.index} steps is {loss}")
        if 4 * parameter_count(self.case.spec) > CHECKED_BYTES:
            return
        for name, array in self.session.parameters().items():
            if not np.isfinite(array).all():
                raise ArithmeticError(f"parameter {name} is not finite after {self.index} steps")

    def _measure_timed(self) -> None:
        """Times the steps that were asked for, and more where the transfers ask for them."""
        self._enter(entry.TIMED)
        more, began = MoreSteps(self.session, self.case), self.clock()
        wanted = self.case.probe_steps
        while wanted:
            for _ in range(wanted):
                trace = self.session.timed_step(self.index)
                self.record.timed_step_seconds.append(trace.seconds)
                self.record.traces.append(trace)
                self.index += 1
            wanted = more.wanted(self.record.traces, self.clock() - began)

    def _measure_traced(self) -> None:
        self._enter(entry.TRACED)
        for number in range(TRACED_STEPS):
            wanted = self.case.timeline and number == TRACED_STEPS - 1
            timeline = self.rank.folder / f"timeline-{self.rank.index}.json"
            trace = self.session.traced_step(self.index, timeline if wanted else None)
            self.record.traced_step_seconds.append(trace.seconds)
            self.record.profiles.append(trace)
            self.index += 1

    def _measure_silent(self) -> None:
        """Measures steps without communication.

        The first one is not counted, because a session may use it to set itself up for silence.
        """
        self._enter(entry.SILENT)
        self.session.silent_step(self.index)
        for _ in range(self.case.probe_steps):
            began = self.clock()
            self.session.silent_step(self.index)
            self.record.silent_step_seconds.append(self.clock() - began)


def _write_evidence(folder: Path, gradients: Weights, parameters: Weights) -> None:
    arrays = {f"gradient/{name}": value for name, value in gradients.items()}
    arrays |= {f"parameter/{name}": value for name, value in parameters.items()}
    part = folder / "parity.part.npz"
    np.savez(part, **arrays)  # type: ignore[arg-type]
    part.replace(folder / "parity.npz")


def _steady(seconds: list[float]) -> bool:
    """Returns whether the last window's median is within the tolerance of the one before."""
    last, before = seconds[-WARMUP_WINDOW:], seconds[-2 * WARMUP_WINDOW : -WARMUP_WINDOW]
    after = statistics.median(last)
    return abs(statistics.median(before) - after) <= WARMUP_TOLERANCE * after


if __name__ == "__main__":
    main()
