"""How many steps a launch times: until its transfers are known well enough, or time is up.

Where each transfer waits for a core another while, the median of five steps is far from that of
forty; where they take alike, five are enough. The ranks therefore tell one another after each
window of timed steps what they saw, and go on while the transfer is not known well enough. What a
rank sees alone would not do: it cannot tell a late peer from a slow transfer.
"""

from __future__ import annotations

import socket
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from suite.contract.adapter import Exchanges, Session, StepTrace
from suite.contract.case import Case
from suite.contract.probing import MATTERS, MOST_SECONDS, MOST_STEPS, WINDOW
from suite.contract.sign_test import sign_critical
from suite.contract.spans import union_length

LEVEL = 0.95
# The range of five steps holds their median with 94 %, which is near enough; that of four does not.
LEAST_STEPS = 5
# A communication as ranks tell one another: key, role, start and end in seconds, device.
Told = Sequence[Any]


class MoreSteps:
    """Decides with all ranks how many further steps are timed.

    Args:
        session: The session of this rank.
        case: What is trained, and how; its ``probe_precision`` is what is asked for.

    Attributes:
        steps: (seconds of T_comm transfer, seconds of the step) of each timed step so far, the
            same on every rank.
    """

    def __init__(self, session: Session, case: Case) -> None:
        self.session, self.case = session, case
        self.steps: list[tuple[float, float]] = []

    def wanted(self, traces: Sequence[StepTrace], spent_s: float) -> int:
        """Returns how many steps to time next, 0 for no more; a collective call.

        It is called between steps, with as many traces on every rank.

        Args:
            traces: What this rank's probes saw of each step so far.
            spent_s: Seconds since the first of them began.

        Returns:
            The same number on every rank.
        """
        number = min(WINDOW, MOST_STEPS - len(traces))
        if number <= 0 or not self.case.probe_precision or self.case.devices == 1:
            return 0
        if not isinstance(self.session, Exchanges):
            return 0
        latest = self._told_by_all(traces[len(self.steps):], spent_s)
        # The first step may have built a graph, so steps to come take what the others took.
        ends = latest + number * statistics.median(length for _, length in self.steps)
        # A rank whose arithmetic differed in the last bit would hang the others, so they vote.
        enough = ends > MOST_SECONDS or known(self.steps, self.case.probe_precision)
        return 0 if self.session.agree(enough) else number

    def _told_by_all(self, traces: Sequence[StepTrace], spent_s: float) -> float:
        """Tells all ranks of new steps; returns the most seconds that one of them has spent."""
        assert isinstance(self.session, Exchanges)
        mine = [socket.gethostname(), spent_s, [_told(trace) for trace in traces]]
        everyone = self.session.exchange(mine)
        for number in range(len(traces)):
            ranks = [(host, *steps[number]) for host, _, steps in everyone]
            seconds = transfer_seconds([(host, events) for host, _, events in ranks])
            self.steps.append((seconds, max(length for _, length, _ in ranks)))
        return float(max(spent for _, spent, _ in everyone))


def _told(trace: StepTrace) -> list[Any]:
    events = [[e.key, e.role, e.start_s, e.end_s, e.device] for e in trace.events]
    return [trace.seconds, events]


def transfer_seconds(ranks: Sequence[tuple[str, Sequence[Told]]]) -> float:
    """Returns T_comm transfer of a step as rows have it: the mean over devices that communicate.

    A transfer begins when the last participant is ready and ends when the last one has the result.
    Hosts have clocks of their own, so each only counts what its own devices saw.

    Args:
        ranks: Host of each rank, and its communications in the step.
    """
    ready: dict[tuple[str, str], float] = {}
    done: dict[tuple[str, str], float] = {}
    for host, events in ranks:
        for key, role, start, end, _ in events:
            ready[host, key] = max(start, ready.get((host, key), start))
            if role != "send":
                done[host, key] = max(end, done.get((host, key), end))
    spans: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for number, (host, events) in enumerate(ranks):
        for key, role, _, _, device in events:
            own = spans[number, device]
            if role != "send":
                end = done[host, key]
                own.append((min(ready[host, key], end), end))
    return sum(map(union_length, spans.values())) / len(spans) if spans else 0.0


def known(steps: Sequence[tuple[float, float]], precision: float) -> bool:
    """Returns whether the interval of the median transfer is narrow enough.

    Its half-width has to be within ``precision`` of the transfer, or of the least transfer that
    matters where the transfer is smaller than that.

    Args:
        steps: (seconds of T_comm transfer, seconds of the step) of each timed step.
        precision: The relative half-width that is asked for.
    """
    transfers = sorted(seconds for seconds, _ in steps)
    if not any(transfers):
        return True
    if len(steps) < LEAST_STEPS:
        return False
    skipped = max(0, sign_critical(len(steps), LEVEL))
    half_width = (transfers[-1 - skipped] - transfers[skipped]) / 2
    least = MATTERS * statistics.median(length for _, length in steps)
    return half_width <= precision * max(statistics.median(transfers), least)
