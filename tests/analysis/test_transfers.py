"""Each communication's own part of the time in flight, and who had no core meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.analysis.communication import communication
from suite.analysis.traced import reduce_launch
from suite.analysis.transfers import handling_columns, scheduling_seconds, transfers, turns_seconds
from suite.contract.case import Case
from suite.contract.records import CommEvent, RankRecord, StepTrace


def _records(
    *ranks: list[CommEvent], queued: tuple[tuple[float, float], ...] = (), profile: bool = False
) -> list[RankRecord]:
    def trace(events: list[CommEvent]) -> StepTrace:
        return StepTrace(events, queued=queued)

    fused = [StepTrace([CommEvent("all_reduce", 300, 1.0, 1.2, key="fused#0")])]
    return [
        RankRecord(number, traces=[trace(events)],
                   profiles=(fused if number == 0 else [StepTrace()]) if profile else [])
        for number, events in enumerate(ranks)
    ]


def _member(key: str, size: int, start: float, end: float) -> CommEvent:
    return CommEvent("all_reduce", size, start, end, key=key)


def test_the_parts_of_overlapping_buckets_add_up_to_the_union() -> None:
    events = [_member("a", 100, 0.0, 5.0), _member("b", 200, 3.0, 8.0), _member("c", 50, 9.0, 9.5)]
    records = _records(events, events)
    found = transfers(records)
    assert found == {"all_reduce": [(100, 5.0), (200, 3.0), (50, 0.5)]}
    assert sum(seconds for _, seconds in found["all_reduce"]) == pytest.approx(
        communication(records)["t_comm_transfer_s"])


def test_parts_that_vary_add_up_to_the_median_step() -> None:
    """In each of three steps another call takes long; no call's own median shows it."""
    steps = [
        StepTrace([_member(key, 100, number, number + (0.9 if number == slow else 0.1))
                   for number, key in enumerate("abc")])
        for slow in range(3)
    ]
    records = [RankRecord(rank, traces=steps) for rank in range(2)]
    whole = communication(records)["t_comm_transfer_s"]
    assert whole == pytest.approx(1.1)
    assert sum(part for _, part in transfers(records)["all_reduce"]) == pytest.approx(whole)


def test_a_late_device_is_no_transfer() -> None:
    found = transfers(_records([_member("a", 100, 0.0, 5.0)], [_member("a", 100, 4.0, 5.0)]))
    assert found == {"all_reduce": [(100, 1.0)]}


def test_a_hop_is_its_receivers() -> None:
    sent = CommEvent("send_recv", 8, 1.0, 1.0, key="0>1", role="send")
    received = CommEvent("send_recv", 8, 0.5, 2.0, key="0>1", role="recv")
    records = _records([sent], [received])
    assert transfers(records) == {"send_recv": [(8, 1.0)]}
    assert communication(records)["t_comm_transfer_s"] == pytest.approx(0.5)


def test_fused_operations_share_the_time_of_what_was_asked() -> None:
    events = [_member("a", 100, 0.0, 1.0), _member("b", 200, 1.0, 2.0)]
    records = _records(events, events, profile=True)
    assert transfers(records) == {"all_reduce": [(300, 2.0)]}
    assert handling_columns(records) == {"t_comm_handling_s": pytest.approx(1.8)}


def test_several_fused_operations_have_equal_shares() -> None:
    events = [_member("a", 100, 0.0, 1.0), _member("b", 200, 1.0, 3.0), _member("c", 50, 3.0, 4.0)]
    fused = [StepTrace([CommEvent("all_reduce", size, start, start + 0.1, key=f"fused#{number}")
                        for number, (size, start) in enumerate([(250, 1.0), (100, 2.0)])])]
    found = transfers([replace(record, profiles=fused if record.rank == 0 else [StepTrace()])
                       for record in _records(events, events)])
    assert found == {"all_reduce": [(250, 2.0), (100, 2.0)]}


def test_no_timeline_no_handling() -> None:
    assert handling_columns(_records([_member("a", 1, 0.0, 1.0)])) == {}


def test_copies_within_collectives_are_told_without_a_timeline() -> None:
    events = [_member("a", 100, 0.0, 1.0)]
    records = [
        RankRecord(rank, traces=[StepTrace(events)], profiles=[StepTrace(copies_s=seconds)])
        for rank, seconds in enumerate((0.2, 0.4))
    ]
    assert handling_columns(records) == {"t_comm_copy_s": pytest.approx(0.3)}


def test_waiting_for_a_core_counts_within_transfers_alone() -> None:
    """The clock rises by 0.25 s before the transfer, by 0.5 s within it."""
    queued = ((0.0, 0.0), (1.0, 0.25), (2.0, 0.75), (3.0, 0.75))
    events = [_member("a", 100, 1.0, 2.0)]
    assert scheduling_seconds(_records(events, events, queued=queued)) == pytest.approx(0.5)
    assert scheduling_seconds(_records(events, events)) is None


def test_a_copy_has_no_thread_while_the_whole_pool_computes() -> None:
    """Of a hop of 2 s in the traced step both devices compute for 1.5 s; it is timed at 1 s."""
    def hop(start: float, end: float) -> list[CommEvent]:
        return [CommEvent("send_recv", 8, start, start, device=0, key="hop", role="send"),
                CommEvent("send_recv", 8, start, end, device=1, key="hop", role="recv")]

    clocks = [[(0.0, 0.0), (4.0, 4.0)], [(0.0, 0.0), (2.5, 2.5), (4.0, 2.5)]]
    traced = StepTrace(hop(1.0, 3.0), busy=clocks)
    records = [RankRecord(0, traces=[StepTrace(hop(1.0, 2.0))], profiles=[traced])]
    # It is in flight on one of the two devices.
    assert scheduling_seconds(records) == pytest.approx(0.75 / 2)
    two = [RankRecord(0, traces=[StepTrace(hop(1.0, 2.0))], profiles=[traced]), RankRecord(1)]
    assert scheduling_seconds(two) is None
    case = Case("tensorflow", "tensorflow", "inter_layer", "gpipe", "mlp", "tiny", "real", "cpu", 2)
    told = _columns(case, records)
    assert told["t_comm_scheduling_s"] == pytest.approx(0.75 / 2)
    # What one process hands over in its own memory, no other library carries.
    assert told["t_comm_handling_s"] == told["t_comm_transfer_s"] == pytest.approx(0.5)
    # Between GPUs a link carries it, and needs none of the threads that compute.
    gpu = _columns(replace(case, device="cuda"), records)
    assert not {"t_comm_scheduling_s", "t_comm_handling_s"} & set(gpu)


def _columns(case: Case, records: list[RankRecord]) -> dict[str, float]:
    """The probed columns of a launch whose clean steps took four seconds."""
    told = reduce_launch(case, [replace(record, step_seconds=[4.0]) for record in records])
    assert told is not None
    return told.columns


def test_processes_that_wait_in_different_transfers_wait_for_both() -> None:
    """Rank 0 waits 0.6 s in the first transfer, rank 1 waits 0.5 s in the second."""
    events = [_member("a", 100, 0.0, 1.0), _member("b", 100, 2.0, 3.0)]
    clocks = [((0.0, 0.0), (1.0, 0.6), (3.0, 0.6)), ((0.0, 0.0), (2.0, 0.0), (3.0, 0.5))]
    records = [RankRecord(rank, traces=[StepTrace(events, queued=clock)])
               for rank, clock in enumerate(clocks)]
    assert scheduling_seconds(records) == pytest.approx(1.1)


def test_processes_that_wait_in_turns_may_wait_longer_together() -> None:
    """In a transfer of 1 s they wait 0.6 and 0.3 s, or 0.8 and 0.7 s: 0.3 or 0.2 s more at most."""
    def found(first: float, second: float) -> list[float | None]:
        records = [
            RankRecord(rank, traces=[StepTrace([_member("a", 100, 0.0, 1.0)],
                                               queued=((0.0, 0.0), (1.0, waited)))])
            for rank, waited in enumerate((first, second))
        ]
        return [scheduling_seconds(records), turns_seconds(records)]

    assert found(0.6, 0.3) == [pytest.approx(0.6), pytest.approx(0.3)]
    assert found(0.8, 0.7) == [pytest.approx(0.8), pytest.approx(0.2)]
    assert turns_seconds([RankRecord(0, traces=[StepTrace()])]) is None


def test_nobody_waits_longer_than_the_transfer_takes() -> None:
    events = [_member("a", 100, 0.0, 1.0), _member("b", 100, 2.0, 3.0)]
    records = _records(events, events, queued=((0.0, 0.0), (1.0, 4.0), (3.0, 4.0)))
    assert scheduling_seconds(records) == pytest.approx(1.0)


def test_dispatch_is_what_a_device_computes_outside_operations() -> None:
    def rank(number: int, operations_s: float) -> RankRecord:
        step = StepTrace(busy=[[(0.0, 0.0), (1.0, 0.8)]])
        return RankRecord(number, step_seconds=[1.0], timed_step_seconds=[1.0], traces=[step],
                          profiles=[StepTrace(operations_s=operations_s)])

    case = Case("pytorch", "torch", "data", "", "mlp", "tiny", "real", "cpu", 2)
    told = reduce_launch(case, [rank(0, 0.5), rank(1, 0.7)])
    assert told is not None and told.columns["dispatch_s"] == pytest.approx(0.2)
    # Both devices are busy for 0.8 s, and compute for 0.5 and 0.7 s of it.
    assert told.columns["busy_avg_s"] == pytest.approx(0.8)
    assert told.columns["compute_avg_s"] == pytest.approx(0.6)
    assert told.columns["load_balance"] == pytest.approx(0.7 / 0.6)
    assert told.busy.tolist() == [pytest.approx([0.5, 0.7])]
    untold = reduce_launch(case, [rank(0, 0.5), rank(1, 0.0)])
    assert untold is not None and "dispatch_s" not in untold.columns
    assert untold.columns["compute_avg_s"] == untold.columns["busy_avg_s"] == pytest.approx(0.8)


def test_a_profile_of_the_same_communications_is_no_timeline_of_fusion() -> None:
    events = [_member("a", 100, 0.0, 1.0), _member("b", 200, 1.0, 4.0)]
    records = [RankRecord(rank, traces=[StepTrace(events)], profiles=[StepTrace(events)])
               for rank in range(2)]
    assert transfers(records) == {"all_reduce": [(100, 1.0), (200, 3.0)]}
    assert handling_columns(records) == {}
