"""How Linux schedules single threads of this process: which wait for a core, which take one first.

Between CPUs the process of a rank has more threads than the one that trains: a communication
library has workers, which move the data, and an event loop, which waits until a socket is ready
and then hands the work to the workers. On a device of one core they all share that core.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

TASKS = Path("/proc/self/task")
# The kernel functions in which a thread sleeps while it waits for sockets.
EPOLL = ("epoll", "ep_poll")
LOOKS, LOOK_PAUSE_S = 10, 0.002
# The environment variable that says how a worker's event loops are scheduled, and its values.
SETTING, BATCH, DEFAULT = "SUITE_EVENT_LOOPS", "batch", "default"


def native_threads() -> set[int]:
    """Returns the ids of this process's threads now; none on a system without ``/proc``."""
    with suppress(OSError):
        return {int(path.name) for path in TASKS.iterdir()}
    return set()


def preferred_event_loops(device: str, axes: Collection[str] = ()) -> str:
    """Returns how event loops are scheduled for a strategy, unless the user says otherwise.

    It is ``batch`` where a rank waits for its collectives or overlaps few of them with its
    gradients. Where stages pass activations on while they compute, an event loop that gives way to
    computing would leave arrived data lying about, so it keeps the kernel's own policy. Both were
    measured (docs/measurement.md). The ranks of GPUs have cores to spare and use no gloo.

    Args:
        device: ``cpu`` or ``cuda``.
        axes: Names of the axes that the case splits over.

    Returns:
        ``batch`` or ``default``.
    """
    return BATCH if device == "cpu" and "inter_layer" not in axes else DEFAULT


def schedule_event_loops(threads: Iterable[int], preferred: str = BATCH) -> str:
    """Keeps event loops from taking the core of a worker that they are about to wait for.

    gloo's loop wakes up when a socket is ready and then tries, again and again, to get a lock. The
    worker that writes to this socket holds the lock. Both share one core, and the kernel lets the
    thread that woke up last go first: the loop spins for some milliseconds, until its time slice
    is over, while the worker that could free the lock has no core. A thread of the policy
    SCHED_BATCH never takes a core from a running thread when it wakes up (sched(7)), which ends
    the spinning. It needs no privilege.

    Args:
        threads: Ids of the threads that the communication library started. Those that wait for
            sockets now are its event loops.
        preferred: The policy unless the user's ``SUITE_EVENT_LOOPS`` says otherwise.

    Returns:
        The policy for the row's ledger: ``batch``, or the kernel's ``default``, because that was
        preferred or asked for, or because there is no such thread or system.

    Raises:
        ValueError: ``SUITE_EVENT_LOOPS`` has any other value.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return DEFAULT
    if (event_loop_setting() or preferred) == DEFAULT:
        _set_policy(filter(_is_batch, threads), os.SCHED_OTHER)
        return DEFAULT
    loops = _event_loops(list(threads))
    _set_policy(loops, os.SCHED_BATCH)
    return BATCH if loops and all(map(_is_batch, loops)) else DEFAULT


class ScheduledLoops:
    """The event loops of a link session, whose policy may change between its sweeps.

    Attributes:
        event_loops: The policy that they have, ``batch`` or ``default``.

    Args:
        threads: Ids of the threads that the communication library started.
        preferred: Their policy at first, unless the user says otherwise.
    """

    def __init__(self, threads: Collection[int], preferred: str) -> None:
        self._threads = threads
        self.event_loops = schedule_event_loops(threads, preferred)

    def schedule(self, preferred: str) -> str:
        """Gives the event loops another policy, unless the user says otherwise; returns theirs."""
        self.event_loops = schedule_event_loops(self._threads, preferred)
        return self.event_loops


def _set_policy(threads: Iterable[int], policy: int) -> None:
    for thread in threads:
        with suppress(OSError):
            os.sched_setscheduler(thread, policy, os.sched_param(0))


def event_loop_setting(environment: Mapping[str, str] = os.environ) -> str:
    """Returns the policy that the user asks for; empty if nothing is asked.

    Raises:
        ValueError: ``SUITE_EVENT_LOOPS`` is neither ``batch`` nor ``default``.
    """
    wanted = environment.get(SETTING, "")
    if wanted not in ("", BATCH, DEFAULT):
        raise ValueError(f"{BATCH} or {DEFAULT}")
    return wanted


def _event_loops(threads: Sequence[int]) -> set[int]:
    """Finds threads that wait for sockets; it looks several times, since one may be busy now."""
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
    """Counts for how many seconds threads were ready to run but had no core.

    It reads the second number of ``/proc/PID/task/TID/schedstat``, in nanoseconds (Linux,
    Documentation/scheduler/sched-stats.rst), which grows when a wait ends. The files stay open,
    because a probe reads them at every mark.

    Args:
        threads: Ids from ``native_threads``. A thread that has ended since counts no further.
    """

    def __init__(self, threads: Collection[int]) -> None:
        self._waited_ns: dict[int, int] = {}
        for thread in threads:
            with suppress(OSError):
                self._waited_ns[os.open(TASKS / str(thread) / "schedstat", os.O_RDONLY)] = 0

    @classmethod
    def for_balancing(cls, threads: Collection[int]) -> RunQueueClock:
        """Returns the clock of these threads, which has to tell.

        Raises:
            RuntimeError: The kernel does not say how long a thread waits for a core.
        """
        clock = cls(threads)
        if not clock.tells:
            raise RuntimeError("balancing needs /proc/self/task/*/schedstat, and this kernel has "
                               "none: use --balance static")
        return clock

    @property
    def tells(self) -> bool:
        """Whether there is a thread to watch, and a kernel that counts."""
        return bool(self._waited_ns)

    def seconds(self) -> float:
        """Returns the seconds so far, summed over the threads."""
        for file in self._waited_ns:
            with suppress(OSError):  # the thread has ended; the time that it had waited stays
                self._waited_ns[file] = int(os.pread(file, 80, 0).split()[1])
        return sum(self._waited_ns.values()) * 1e-9
