"""Every framework records the terms of comparison under the same names, and keeps them equal."""

from __future__ import annotations

import pytest

from suite.analysis.ledger import MUST_EQUAL, build_ledger, obstacle
from suite.config import ENGINES
from suite.environment import installed
from suite.launch import manifest
from suite.spec.case import Case
from tests.conftest import Launch

COLUMNS = [(framework, engine) for framework, engines in ENGINES.items() for engine in engines]


def test_single_devices_of_all_frameworks_are_comparable(start: Launch) -> None:
    ledgers = []
    for column in COLUMNS:
        if not installed(list(manifest(column[0]).DISTRIBUTIONS)):
            continue
        case = Case(*column, "single", "", "mlp", "tiny", "real", "cpu", 1, steps=1, probe_steps=0,
                    warmup_limit=10)
        outcome, _ = start(case)
        assert outcome.status == "ok", outcome.reason
        ledgers.append(build_ledger(case, [outcome.records]))
    if len(ledgers) < 2:
        pytest.skip("one framework has nothing to be compared with")
    assert all(obstacle(ledgers[0], other) == "" for other in ledgers), ledgers
    assert all(set(MUST_EQUAL) <= set(ledger) for ledger in ledgers)
