"""What a reference may take: whether a machine can hold one, and in which time."""

from __future__ import annotations

from suite.config.model import MeasureConfig
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.formats import size_bytes
from suite.contract.workloads import parameter_count
from suite.launch.bounds import ALLOWANCE, Bounds
from suite.machine.memory import Guard, available_bytes, margin_bytes

# Below this nobody has to watch a reference's memory.
LEAST_GUARDED_BYTES = 1 << 30
INITIAL_BYTES = 4
# The harness holds of each parameter, while it judges: the reference's gradient and result in
# float64, a case's in float32, and the initial value.
JUDGING_BYTES = 2 * 8 + 2 * 4 + INITIAL_BYTES


class ProofLimits:
    """Least figures of a launch on one device, beside what the user and the machine allow."""

    def __init__(self, config: MeasureConfig, bounds: Bounds) -> None:
        self.config, self.bounds = config, bounds

    def problem(self, case: Case) -> str:
        """Why a launch on one device cannot be made here; empty if it may be tried.

        Only what it needs at least is counted, so what is refused is hopeless, and what is tried
        may still fail.
        """
        return self._memory_problem(case) or self._time_problem(case)

    def seconds(self, case: Case) -> float:
        """Seconds that the launch may take."""
        needed = ALLOWANCE * self._needed(case, self.bounds.timeout / ALLOWANCE)
        return max(self.bounds.timeout, min(needed, self.config.proof_timeout))

    def guard(self, case: Case) -> Guard | None:
        """Ends a large launch before it takes the memory of the whole machine."""
        if host_bytes(case) < LEAST_GUARDED_BYTES:
            return None
        return Guard(0, 1, margin_bytes())

    def _memory_problem(self, case: Case) -> str:
        allowed = self.config.proof_memory
        rooms = {"memory": (host_bytes(case), allowed or available_bytes() - margin_bytes())}
        if case.device == "cuda":
            # The user's limit is the device's then.
            gpu = self.bounds.gpus[0].memory_bytes if self.bounds.gpus else None
            rooms = {"GPU memory": (training_bytes(case), allowed or gpu or 0),
                     "memory": (host_bytes(case), available_bytes() - margin_bytes())}
        for what, (needed, room) in rooms.items():
            if room and needed > room:
                return (f"{case.dtype} on one {case.device} device needs {size_bytes(needed)} of "
                        f"{what} or more, {size_bytes(max(room, 0))} may be taken (--proof-memory)")
        return ""

    def _time_problem(self, case: Case) -> str:
        needed = self._needed(case, self.config.proof_timeout)
        if needed <= self.config.proof_timeout:
            return ""
        return (f"{case.dtype} on one {case.device} device takes {needed:.0f} s or more, "
                f"{self.config.proof_timeout:g} s may be taken (--proof-timeout)")

    def _needed(self, case: Case, allowed: float) -> float:
        """The least seconds of the steps; of a small model, which needs no measurement, more."""
        steps = PARITY_STEPS + case.steps
        slow = self.bounds.slow_seconds(case, steps)
        return slow if slow <= allowed else self.bounds.least_seconds(case, steps)


def training_bytes(case: Case) -> int:
    """Weights, gradients and Adam's two moments on one device, without any activation."""
    number = 8 if case.dtype == "float64" else 4
    return 4 * number * parameter_count(case.spec)


def host_bytes(case: Case) -> int:
    """What the host holds at least: on CPUs the training, everywhere the weights and the proof."""
    number, parameters = 8 if case.dtype == "float64" else 4, parameter_count(case.spec)
    proof = 2 * number * parameters if case.proof_arrays else 0
    rank = INITIAL_BYTES * parameters + proof
    if case.device == "cpu":
        rank += training_bytes(case)
    return max(rank, JUDGING_BYTES * parameters) if case.proof_arrays else rank
