"""A calibration's rank, on operations that take planted times."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from suite.contract.case import Rank
from suite.contract.operations import Lengths, Operation, OperationPlan
from suite.contract.sweep import Call
from suite.ranks import operations
from suite.ranks.operations import calibrate, timed

PLAN = OperationPlan(((4, 4, 4), (8, 8, 8)), 100, (2, 4, 8), 30, (2, 5), (2, 3), (10, 1000),
                     (64, 256), 0.0, 0.01)


class PlantedLink:
    """One rank; an all-reduce sleeps."""

    backend, transport = "planted", "wire"

    def participants(self, kind: str) -> int:
        return 2

    def barrier(self) -> None:
        pass

    def agree(self, ready: bool) -> bool:
        return ready

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        def call() -> list[tuple[int, float, float]]:
            start = time.perf_counter()
            time.sleep(0.0005)
            return [(0, start, time.perf_counter())]

        return call

    def close(self) -> None:
        pass


class PlantedOperations:
    """Operations that move a clock on, but products, which compute."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        self.now += 1e-9  # a loop until a time has passed must end, whatever it calls
        return self.now

    def _taking(self, seconds: float) -> Operation:
        def operation() -> None:
            self.now += seconds

        return operation

    def product(self, lengths: Lengths, repeats: int) -> Operation:
        return lambda: sum(range(20_000))

    def stream(self, elements: int) -> Operation:
        return self._taking(elements * 1e-5)

    def attention(self, lengths: Lengths) -> Operation:
        return self._taking(lengths[0] * 1e-3)

    def activation(self, elements: int) -> Operation:
        return self._taking(elements * 1e-4)

    def norm(self, rows: int, width: int) -> Operation:
        return self._taking(width * 1e-3)

    def layers(self, width: int, number: int) -> Operation:
        return self._taking(number * 1e-3)

    def update(self, parameters: int) -> Operation:
        return self._taking(parameters * 1e-6)


def test_a_rank_records_everything_of_the_plan(tmp_path: Path) -> None:
    planted = PlantedOperations()
    record = calibrate(PlantedLink(), planted, PLAN, ["all_reduce", "send_recv"],
                       Rank(0, 1, tmp_path), planted.clock)
    seconds = [(one["kind"], one["seconds"]) for one in record["operations"]
               if one["kind"] != "product"]
    assert seconds == [
        (kind, pytest.approx(planted_s, rel=1e-3)) for kind, planted_s in
        [("stream", 1e-3), ("attention", 2e-3), ("activation", 3e-3), ("norm", 5e-3),
         ("layers", 3e-3), ("update", 1e-5), ("update", 1e-3)]
    ]
    assert [one["kind"] for one in record["operations"]].count("product") == 2
    assert {one["collective"] for one in record["samples"]} == {"all_reduce", "send_recv"}
    assert record["resident_bytes"] > 1e6 and record["contention"] >= 1.0


@pytest.mark.parametrize(("processes", "slower"), [(1, 1.0), (2, 3.0)])
def test_what_waits_within_a_process_is_no_slower_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int, slower: float
) -> None:
    monkeypatch.setattr(operations, "contention", lambda *_: (1.5, 3.0))
    planted = PlantedOperations()
    record = calibrate(PlantedLink(), planted, PLAN, ["all_reduce"], Rank(0, processes, tmp_path),
                       planted.clock)
    assert (record["contention"], record["call_slowdown"]) == (1.5, slower)


def test_small_products_are_repeated_in_a_call() -> None:
    """Their seconds are those of one: of sixteen layers, and of one large layer."""
    made: list[tuple[Lengths, int]] = []

    class Counting(PlantedOperations):
        def product(self, lengths: Lengths, repeats: int) -> Operation:
            made.append((lengths, repeats))
            return self._taking(3e-3 * repeats)

    counting = Counting()
    plan = replace(PLAN, products=((4, 4, 4), (1024, 1024, 1024)))
    found = [counted for counted in operations.listed(counting, plan) if counted[0] == "product"]
    assert made == [((4, 4, 4), 16), ((1024, 1024, 1024), 1)]
    seconds = [timed(operation, PlantedLink(), 0.1, counting.clock) / count
               for _, _, operation, count in found]
    assert seconds == [pytest.approx(1e-3, rel=1e-3)] * 2


@pytest.mark.alone
def test_a_call_that_takes_the_core_slows_products() -> None:
    """Two Python threads share one interpreter, so about half of the compute is lost."""
    class Busy(PlantedLink):
        def prepare(self, kind: str, payload_bytes: int) -> Call:
            def call() -> list[tuple[int, float, float]]:
                for _ in range(20):
                    sum(range(20_000))
                return []

            return call

    plan = replace(PLAN, link_bytes=(64,), seconds=0.2)
    busy, slower = operations.contention(Busy(), PlantedOperations(), plan, time.perf_counter)
    idle, _ = operations.contention(PlantedLink(), PlantedOperations(), plan, time.perf_counter)
    assert 1.1 < busy <= 2.0 and 1.0 <= idle < busy
    assert slower > 1.1


def test_one_late_call_moves_nothing() -> None:
    now, took = [0.0], iter([1.0, 1.0, 1.0, 1.0, 5.0, 1.0, 1.0])

    def operation() -> None:
        now[0] += next(took)

    assert timed(operation, PlantedLink(), 8.0, lambda: now[0]) == 1.0
    assert now[0] == 10.0  # two to warm up, then until eight seconds were over
