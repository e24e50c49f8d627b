"""What a transfer is made of, in words that add up."""

from __future__ import annotations

from suite.analysis.comm_reasons import Transfer


def test_causes_add_up_to_the_whole() -> None:
    causes = dict(Transfer(10e-3, 2e-3, 5e-3, None).causes())
    assert causes["threads without a core"] == 5e-3
    assert abs(sum(causes.values()) - 10e-3) < 1e-12


def test_waiting_for_a_core_is_told_once() -> None:
    """Handling as measured holds the waiting too."""
    causes = dict(Transfer(10e-3, 1e-3, 4e-3, 7e-3).causes())
    assert abs(causes["the framework's own handling"] - 3e-3) < 1e-12
    assert abs(causes["not told apart"] - 2e-3) < 1e-12


def test_no_cause_takes_more_than_is_left() -> None:
    causes = dict(Transfer(3e-3, 2e-3, 5e-3, None).causes())
    assert abs(causes["threads without a core"] - 1e-3) < 1e-12 and causes["not told apart"] == 0


def test_words() -> None:
    transfer = Transfer(10e-3, 2e-3, 8e-3, None)
    assert transfer.factor == 5.0
    assert transfer.text() == "the link itself 2 ms (20 %), threads without a core 8 ms (80 %)"
    assert Transfer(10e-3, None, None, None).factor is None
    assert Transfer(10e-3, None, None, None).text() == "not told apart 10 ms (100 %)"


def test_negotiation_is_told_from_copies_and_from_the_bytes_on_the_link() -> None:
    """The idle link's latency is negotiation too, so only its bytes count beside it."""
    told = Transfer(10e-3, 4e-3, None, 7e-3, bytes_s=1e-3, negotiation_s=5e-3, copies_s=1.5e-3)
    assert told.text() == (
        "the link itself 1 ms (10 %), queueing and negotiation 5 ms (50 %), "
        "copies into and out of buffers 1.5 ms (15 %), the framework's own handling 500 µs (5 %), "
        "not told apart 2 ms (20 %)"
    )


def test_turns_take_what_no_other_cause_does_and_no_more_than_their_bound() -> None:
    causes = dict(Transfer(10e-3, 2e-3, 5e-3, None, turns_s=1e-3).causes())
    assert causes["cores waited for in turns (at most)"] == 1e-3
    assert abs(causes["not told apart"] - 2e-3) < 1e-12
    causes = dict(Transfer(10e-3, 2e-3, 5e-3, None, turns_s=7e-3).causes())
    assert abs(causes["cores waited for in turns (at most)"] - 3e-3) < 1e-12
    assert causes["not told apart"] == 0


def test_waiting_for_a_core_is_spread_over_negotiation_and_the_rest() -> None:
    causes = dict(Transfer(10e-3, 1e-3, 5e-3, 6e-3, 1e-3, 4e-3, 2e-3).causes())
    assert causes["threads without a core"] == 5e-3
    assert abs(causes["queueing and negotiation"] - 2e-3) < 1e-12
    assert abs(sum(causes.values()) - 10e-3) < 1e-12


def test_waking_up_takes_what_is_left_at_the_very_end() -> None:
    causes = dict(Transfer(10e-3, 2e-3, 5e-3, None, turns_s=1e-3, waking_s=7e-3).causes())
    assert abs(causes["waking threads up, as an idle call does (at most)"] - 2e-3) < 1e-12
    assert causes["not told apart"] == 0
    causes = dict(Transfer(10e-3, 2e-3, 5e-3, None, waking_s=1e-3).causes())
    assert abs(causes["not told apart"] - 2e-3) < 1e-12
