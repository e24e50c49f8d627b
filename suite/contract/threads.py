"""Single threads of this process as Linux knows them: who waits for a core, who takes one first.

Between CPUs a rank's process has threads beside the one that trains: a communication library's
workers, which move the data, and its event loop, which waits until a socket is ready and then hands
the work to them. On a device of one core they all share it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

TASKS = Path("/proc/self/task")
# What a thread that waits for sockets sleeps in, by the kernel's own name of the function.
EPOLL = ("epoll", "ep_poll")
LOOKS, LOOK_PAUSE_S = 10, 0.002
# A setting of a worker: how its communication library's event loops are scheduled.
SETTING, BATCH, DEFAULT = "SUITE_EVENT_LOOPS", "batch", "default"


def native_threads() -> set[int]:
    """Ids of the threads that this process has now; none on a system without ``/proc``."""
    with suppress(OSError):
        return {int(path.name) for path in TASKS.iterdir()}
    return set()


def preferred_event_loops(device: str, axes: Collection[str] = ()) -> str:
    """How event loops are scheduled that serve a strategy, unless the user says otherwise.

    ``batch`` where a rank waits for its collectives or overlaps few of them with its gradients.
    Where stages pass activations on while they compute, an event loop that gives way to computing
    leaves what has arrived lying about, so it keeps the kernel's own policy. Both are measured
    (docs/measurement.md). A GPU's ranks have cores to spare and no gloo between them.

    Args:
        device: ``cpu`` or ``cuda``.
        axes: Names of the axes that the case splits over.
    """
    return BATCH if device == "cpu" and "inter_layer" not in axes else DEFAULT


def schedule_event_loops(threads: Iterable[int], preferred: str = BATCH) -> str:
    """Keeps event loops from taking the core of a worker that they are about to wait for.

    gloo's loop wakes up when a socket is ready and then tries, again and again, to get a lock that
    the worker holds which writes to that socket. Both share one core, and the kernel lets whoever
    woke up last go first: the loop spins until its time slice is over, some milliseconds, while the
    worker that could free the lock has no core. A thread of the policy SCHED_BATCH never takes a
    core from a running one when it wakes up (sched(7)), which ends that. No privilege is needed.

    Args:
        threads: Ids of the threads that the communication library started; those among them that
            wait for sockets now are its event loops.
        preferred: What is done unless the user's ``SUITE_EVENT_LOOPS`` says otherwise.

    Returns:
        For the row's ledger: ``batch``, or ``default`` where the policy is as it was: preferred,
        asked for by the user, or because there is no such thread or system.

    Raises:
        ValueError: for any other setting.
    """
    if (event_loop_setting() or preferred) == DEFAULT or not hasattr(os, "SCHED_BATCH"):
        return DEFAULT
    loops = _event_loops(list(threads))
    for thread in loops:
        with suppress(OSError):
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
    return BATCH if loops and all(map(_is_batch, loops)) else DEFAULT


def event_loop_setting(environment: Mapping[str, str] = os.environ) -> str:
    """``batch`` or ``default`` as the user asks for; empty if not, ``ValueError`` for others."""
    wanted = environment.get(SETTING, "")
    if wanted not in ("", BATCH, DEFAULT):
        raise ValueError(f"{BATCH} or {DEFAULT}")
    return wanted


def _event_loops(threads: Sequence[int]) -> set[int]:
    """Threads seen to wait for sockets; looked at more than once, since one may be busy now."""
    loops: set[int] = set()
    for _ in range(LOOKS):
        loops |= {thread for thread in threads if _waits_for_sockets(thread)}
        time.sleep(LOOK_PAUSE_S)
    return loops


def _waits_for_sockets(thread: int) -> bool:
    with suppress(OSError):
        sleeps_in = (TASKS / str(thread) / "wchan").read_text(encoding="ascii")
        return any(name in sleeps_in for name in EPOLL)
    return False


def _is_batch(thread: int) -> bool:
    with suppress(OSError):
        return os.sched_getscheduler(thread) == os.SCHED_BATCH
    return False


class RunQueueClock:
    """Seconds that threads were ready to run and had no core, together, so far.

    The second number of ``/proc/PID/task/TID/schedstat``, in nanoseconds (Linux,
    Documentation/scheduler/sched-stats.rst). It grows when the wait ends. The files stay open,
    since a probe reads them at every mark.

    Args:
        threads: Ids from ``native_threads``; one that has ended since counts no further.
    """

    def __init__(self, threads: Collection[int]) -> None:
        self._waited_ns: dict[int, int] = {}
        for thread in threads:
            with suppress(OSError):
                self._waited_ns[os.open(TASKS / str(thread) / "schedstat", os.O_RDONLY)] = 0

    @property
    def tells(self) -> bool:
        """Whether there is a thread to tell of, and a kernel that does."""
        return bool(self._waited_ns)

    def seconds(self) -> float:
        """The sum over the threads."""
        for file in self._waited_ns:
            with suppress(OSError):  # ended since; what it had waited stays
                self._waited_ns[file] = int(os.pread(file, 80, 0).split()[1])
        return sum(self._waited_ns.values()) * 1e-9
