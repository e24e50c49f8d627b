"""A second Ctrl-C waits until what the first one began is done."""

from __future__ import annotations

import os
import signal

import pytest

from suite.launch.signals import ASKING, undisturbed


@pytest.mark.parametrize("number", ASKING)
def test_a_signal_takes_effect_after_the_block(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    done = []
    with pytest.raises(KeyboardInterrupt), undisturbed():
        for _ in range(3):
            os.kill(os.getpid(), number)
        done.append("saved")
    assert done == ["saved"] and signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with undisturbed():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_error_of_the_block_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="own"), undisturbed():
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("own")
