"""A device whose every sample, or layer, takes three times as long from one step on.

``PLANT=slow:RANK:STEP:SECONDS``: all ranks of data parallel compute SECONDS longer for each sample
of their share, all stages of a pipeline for each unit that they have, and RANK three times as much
longer from the STEP-th step.
"""

from __future__ import annotations

import time
from typing import Any

SLOWER = 3


class Slowed:
    """Counts steps and burns CPU time, as much as its share of a step asks for.

    Args:
        amount: What follows ``slow:`` in PLANT.
        rank: Number of the process.
    """

    def __init__(self, amount: str, rank: int) -> None:
        slow, step, seconds = amount.split(":")
        self.mine, self.begins, self.seconds = int(slow) == rank, int(step), float(seconds)
        self.steps = 0

    def burn(self, pieces: int) -> None:
        """Computes; the step after it is another one."""
        each = self.seconds * (SLOWER if self.mine and self.steps >= self.begins else 1)
        self.steps += 1
        end = time.thread_time() + each * pieces
        while time.thread_time() < end:
            pass


def slow_loss(session: Any, slowed: Slowed) -> None:
    """In torch, where a step computes its loss once."""
    loss = session.loss_function

    def slow(outputs: Any, targets: Any) -> Any:
        slowed.burn(len(targets))
        return loss(outputs, targets)

    session.loss_function = slow


def slow_passes(session: Any, slowed: Slowed) -> None:
    """In torch, within what a stage's clock counts."""
    passes = session.forward_backward

    def slow(index: int) -> Any:
        slowed.burn(session.cut[session.stage])
        return passes(index)

    session.forward_backward = slow


def slow_graph(session: Any, slowed: Slowed) -> None:
    """In TensorFlow, before each call of a graph; every plan has one."""
    new_graph = session.new_graph

    def planted() -> Any:
        graph = new_graph()

        def slow(*batch: Any) -> Any:
            staged = session.case.strategy == "inter_layer"
            slowed.burn((session.cut if staged else session.shares)[session.place_among])
            return graph(*batch)

        slow.get_concrete_function = graph.get_concrete_function  # type: ignore[attr-defined]
        return slow

    session.new_graph = planted
