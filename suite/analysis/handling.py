"""What a communication library did beside sending, by its own timeline of the traced steps.

The time in which a step transfers (every member is ready, the last one has no result yet) is told
apart by the timeline of the same step: before the library takes a communication up it waits for its
next cycle and negotiates; while it has one in hand it copies or its transport carries it; after the
last of these the ranks wake up. A traced step is slower than a clean one, so only the shares are
used, of the transfer that the timed steps measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from suite.analysis.communication import in_flight, matched_events
from suite.analysis.statistics import median
from suite.analysis.steps import DeviceStep, Interval, Step
from suite.contract.records import CARRIED, HANDLED, CommEvent, Launch, Stage
from suite.contract.spans import union, union_length


@dataclass(frozen=True)
class Handling:
    """Parts of T_comm transfer outside the transport's own collectives, as shares of it.

    Attributes:
        negotiation: Until the library takes a communication up.
        copies: The library has it in hand, and its transport does not carry it.
        waking: After that until the last member has the result; of collectives alone, because the
            timeline of a hop's sender ends before the tensor has arrived.
    """

    negotiation: float
    copies: float
    waking: float

    @property
    def whole(self) -> float:
        """All of them together."""
        return self.negotiation + self.copies + self.waking


def handling(records: Launch) -> Handling | None:
    """Tells the handling of a launch's traced steps apart.

    Args:
        records: The ranks' records.

    Returns:
        Medians over the traced steps; None without a timeline.
    """
    passes = [record.profiles for record in records]
    found = [
        shares for traces in zip(*passes, strict=False)
        if (told := next((trace.stages for trace in traces if trace.stages), None))
        and (shares := _step_shares([DeviceStep(list(t.asked), ()) for t in traces], told))
    ]
    if not found:
        return None
    return Handling(*(median(part) for part in zip(*map(astuple, found), strict=True)))


def _step_shares(step: Step, told: Sequence[Stage]) -> Handling | None:
    """Returns the shares of one step, of the transfers of all its devices together."""
    matched = matched_events(step)
    handled = union((start, end) for name, start, end in told if name == HANDLED)
    carried = union((start, end) for name, start, end in told if name == CARRIED)
    seconds = np.zeros(4)
    for device in step:
        spans = [(matched[e.key].last_ready_s, matched[e.key].end_s) for e in in_flight(device)]
        before, after = _around(in_flight(device), spans, handled)
        seconds += [
            union_length(spans), union_length(before) - _common(before, handled),
            _common(spans, handled) - _common(spans, carried),
            union_length([*after, *before, *handled]) - union_length([*before, *handled]),
        ]
    if not seconds[0]:
        return None
    negotiation, copies, waking = (float(part) for part in seconds[1:] / seconds[0])
    return Handling(negotiation, copies, waking)


def _around(
    events: Sequence[CommEvent], spans: Sequence[Interval], handled: Sequence[Interval]
) -> tuple[list[Interval], list[Interval]]:
    """Cuts each transfer where the library last had something in hand within it.

    Args:
        events: Communications of a device.
        spans: Their transfers, in the same order.
        handled: Disjoint rising intervals in which the library had something in hand.

    Returns:
        Intervals before, and intervals after that of collectives. A transfer that the timeline
        does not know is in neither.
    """
    before: list[Interval] = []
    after: list[Interval] = []
    for event, (start, end) in zip(events, spans, strict=True):
        within = [span for span in handled if span[1] > start and span[0] < end]
        if not within:
            continue
        last = min(end, within[-1][1])
        before.append((start, last))
        if event.kind != "send_recv":
            after.append((last, end))
    return before, after


def _common(spans: Sequence[Interval], others: Sequence[Interval]) -> float:
    """Returns for how long both of two sets of intervals last, in seconds."""
    return union_length(spans) + union_length(others) - union_length([*spans, *others])
