"""Shares of the batch that follow the devices' busy times while a session trains."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from suite.contract.adapter import RankRecord, Session, TakesShares
from suite.contract.case import Case
from suite.contract.splits.balancing import Balancer, share_quantum

LAST_STEPS = 10


class Shares:
    """Asks a session after every step what its devices were busy for, and moves samples.

    Every rank has the same figures and the same balancer, so all take the same decision.

    Args:
        session: The session; of a case that does not balance it is left alone.
        case: What is trained.
        record: Of this rank; rank 0 keeps what every step had.
    """

    def __init__(self, session: Session, case: Case, record: RankRecord) -> None:
        self._record, self._on = record, False
        self._session: TakesShares | None = None
        if not case.balances:
            return
        if not isinstance(session, TakesShares):
            raise TypeError(f"{type(session).__name__} cannot change shares: no TakesShares")
        self._session = session
        self._now = case.planned_shares
        quantum = share_quantum(case.spec.global_batch, len(self._now), case.accumulate)
        self._balancer = Balancer(self._now, quantum)
        self._untold: list[tuple[int, ...]] = []  # shares of steps that were not told of yet

    def turn(self, on: bool) -> None:
        """Balances from now on, or leaves shares as they are, such as under probes.

        Args:
            on: Whether to balance.
        """
        if self._session is not None and on != self._on:
            self._session.share_out(on)
            # The figures of the last steps are not waited for.
            self._on, self._untold = on, []

    def after_step(self) -> None:
        """Takes in what a step tells; call it after each step, within the time of that step."""
        if self._session is None or not self._on:
            return
        self._untold.append(self._now)
        if self._record.rank == 0:
            self._record.shares.append(list(self._now))
        busy = self._session.busy_seconds()
        if len(busy):
            self._observe(busy)

    def figures(self, steps: int) -> dict[str, float]:
        """Returns how often shares changed, and L by the busy seconds of the last steps.

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
        return {"share_changes": float(changes),
                "load_balance_shares": float(np.median(last.max(1) / last.mean(1)))}

    def _observe(self, busy: Sequence[float]) -> None:
        shares = self._untold.pop(0)
        if self._record.rank == 0:
            self._record.share_busy_seconds.append(list(busy))
        planned = self._balancer.observe(shares, busy)
        if planned != self._now:
            assert self._session is not None
            self._session.take_shares(planned)
            self._now = planned
