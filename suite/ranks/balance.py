"""Shares of the batch, or stages of a pipeline, that follow the devices' busy times."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import numpy as np

from suite.contract.adapter import RankRecord, Session, TakesCuts, TakesShares
from suite.contract.case import Case
from suite.contract.splits.balancing import Balancer, share_quantum
from suite.contract.splits.cut_balancing import CutBalancer

LAST_STEPS = 10


class Balance:
    """Asks a session after every step what its devices were busy for, and moves samples or layers.

    Every rank has the same figures and the same balancer, so all take the same decision.

    Args:
        session: The session; of a case that does not balance it is left alone.
        case: What is trained.
        record: Of this rank; rank 0 keeps what every step had.
        clock: Returns seconds; tests replace it.
    """

    def __init__(
        self, session: Session, case: Case, record: RankRecord,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._record, self._clock, self._on = record, clock, False
        self._session: TakesShares | TakesCuts | None = None
        self._staged, self._moving_seconds = case.strategy == "inter_layer", 0.0
        if not case.balances:
            return
        self._agree = session.agree
        self._session = _balanced(session, self._staged)
        self._now = self._planned = case.planned_cut if self._staged else case.planned_shares
        self._balancer = _balancer(case, self._now)
        self._untold: list[tuple[int, ...]] = []  # plans of steps that were not told of yet

    def turn(self, on: bool) -> None:
        """Balances from now on, or leaves all as it is, such as under probes.

        Args:
            on: Whether to balance.
        """
        if self._session is not None and on != self._on:
            self._session.tell_busy(on)
            # The figures of the last steps are not waited for.
            self._on, self._untold, self._planned = on, [], self._now

    def after_step(self) -> None:
        """Takes in what steps tell, and moves samples; call it within the time of each step."""
        if self._session is None or not self._on:
            return
        self._untold.append(self._now)
        if self._record.rank == 0:
            self._record.shares.append(list(self._now))
        for busy in self._session.busy_seconds():
            self._observe(busy)
        if self._planned != self._now and not self._staged:
            cast(TakesShares, self._session).take_shares(self._planned)
            self._now = self._planned

    def between_steps(self) -> None:
        """Moves layers if others shall be cut; call it after each step, outside of its time."""
        if self._on and self._planned != self._now:
            began = self._clock()
            cast(TakesCuts, self._session).take_cut(self._planned)
            self._agree(True)  # all begin the next step together
            self._moving_seconds += self._clock() - began
            self._now = self._planned

    def figures(self, steps: int) -> dict[str, float]:
        """Returns how often the plan changed, and L by the busy seconds of the last steps.

        Args:
            steps: Clean steps of the launch, which were the last ones that were balanced.

        Returns:
            Name of a column to its figure; empty without balancing.
        """
        kept, busy = self._record.shares, self._record.share_busy_seconds
        if not kept or not busy:
            return {}
        last = np.array(busy[-min(steps, LAST_STEPS):])
        changes = sum(after != before for before, after in pairwise(kept))
        found = {"share_changes": float(changes),
                 "load_balance_shares": float(np.median(last.max(1) / last.mean(1)))}
        return found | ({"cut_moves_s": self._moving_seconds} if self._staged else {})

    def _observe(self, busy: Sequence[float]) -> None:
        plan = self._untold.pop(0)
        if self._record.rank == 0:
            self._record.share_busy_seconds.append(list(busy))
        self._planned = self._balancer.observe(plan, busy)


def _balanced(session: Session, staged: bool) -> TakesShares | TakesCuts:
    """Returns the session as what it has to be for its case.

    Raises:
        TypeError: It is not.
    """
    name = type(session).__name__
    if staged:
        if not isinstance(session, TakesCuts):
            raise TypeError(f"{name} cannot move layers: no TakesCuts")
        return session
    if not isinstance(session, TakesShares):
        raise TypeError(f"{name} cannot change shares: no TakesShares")
    return session


def _balancer(case: Case, now: Sequence[int]) -> Balancer | CutBalancer:
    if case.strategy == "inter_layer":
        return CutBalancer(now, list(case.spec.unit_flops().values()))
    return Balancer(now, share_quantum(case.spec.global_batch, len(now), case.accumulate))
