"""Which cases have forked ranks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.config.starts import with_starts
from suite.contract.case import FORKED, FRESH
from suite.contract.errors import UsageError
from tests.synthetic import DATA, SINGLE


def test_what_can_be_forked_is() -> None:
    gpu, hosts = replace(DATA, device="cuda"), replace(DATA, hosts=2)
    compiled = replace(SINGLE, mode="compiled")
    found = with_starts([SINGLE, DATA, gpu, hosts, compiled], "auto")
    assert [case.start for case in found] == [FORKED, FORKED, FRESH, FRESH, FRESH]
    assert with_starts([SINGLE, DATA], "fresh") == [SINGLE, DATA]


def test_what_cannot_is_refused_if_asked() -> None:
    assert with_starts([DATA], "forked") == [replace(DATA, start=FORKED)]
    with pytest.raises(UsageError, match="CPU devices of this host"):
        with_starts([DATA, replace(DATA, device="cuda")], "forked")
    with pytest.raises(UsageError, match="Traits.preloaded"):
        with_starts([replace(DATA, framework="outside", engine="numpy")], "forked")
