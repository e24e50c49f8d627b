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
