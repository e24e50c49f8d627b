"""The timeline of a group of Horovod's ranks: joined for the traced pass, read after each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from adapters.horovod.training.common import shared_by
from adapters.horovod.training.timeline import (
    fused_operations,
    join_again,
    read_parts,
    recorded,
    stages,
)
from suite.contract.adapter import CommEvent, StepTrace
from suite.contract.case import Case, Rank
from suite.contract.splits.strategies import AUTOTUNED
from suite.contract.threads import native_threads, preferred_event_loops, schedule_event_loops


class GroupTimeline:
    """Lets the ranks of a case leave their group for one with a timeline, and back.

    Args:
        hvd: ``horovod.torch`` or ``horovod.tensorflow``.
        case: The case.
        rank: The place of this rank.
        meet: Returns once every rank has called it.
    """

    def __init__(self, hvd: Any, case: Case, rank: Rank, meet: Callable[[], object]) -> None:
        self._hvd, self._case, self._rank, self._meet = hvd, case, rank, meet
        self._path = rank.folder / "horovod-timeline.json"
        self._joined = False

    @property
    def tells(self) -> bool:
        """Whether there will be a timeline of all that the case communicates.

        Only the first rank of all has one, of the group of all ranks. What the autotuner chose
        would be lost with the group that it tuned.
        """
        if self._case.variant == AUTOTUNED:
            return False
        groups = shared_by(self._case)
        return bool(groups) and all(len(group) == self._rank.processes for group in groups)

    def enter(self) -> bool:
        """Joins the group with a timeline, unless the ranks are in it; every rank must call it.

        Returns:
            Whether the group is new, so that it has to negotiate every tensor once.
        """
        return self._change(timeline=True)

    def leave(self) -> None:
        """Joins a group without a timeline if the ranks are in one; every rank must call it."""
        self._change(timeline=False)

    def _change(self, timeline: bool) -> bool:
        if self._joined == timeline:
            return False
        before = native_threads()
        join_again(self._hvd, timeline, self._meet)
        preferred = preferred_event_loops(self._case.device, self._case.axes.names)
        schedule_event_loops(native_threads() - before, preferred)
        self._joined = timeline
        return True

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Records the timeline while the block runs; every rank must call it."""
        with recorded(self._hvd, self._path):
            yield

    def told(
        self, trace: StepTrace, asked: Sequence[CommEvent], clock_offset_s: float = 0.0
    ) -> StepTrace:
        """Adds to the trace of a recorded step what the timeline tells of it.

        Gradients of data parallel are fused, so there its operations are the communications that
        happened: rank 0 tells of those of all ranks. What a profiler saw of them are the same.

        Args:
            trace: What a profiler saw of the step.
            asked: Its communications, as this rank asked for them.
            clock_offset_s: From epoch seconds to the clock of ``asked``.
        """
        first = self._rank.index == 0
        text = self._path.read_text(encoding="utf-8") if first else ""
        parts = read_parts(text, clock_offset_s)
        fuses = self._case.axes.names == ("data",)
        events = fused_operations(parts) if fuses else trace.events
        return replace(trace, events=events, stages=stages(parts), asked=tuple(asked))
