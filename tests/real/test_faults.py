"""Mistakes people make, planted in real training: the gate catches each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.analysis.parity import Verdict
from suite.spec.case import Case


@pytest.mark.parametrize(
    ("fault", "strategy", "workload", "caught"),
    [
        ("none", "data", "mlp", ""),
        ("wrong_scale", "single", "mlp", "loss"),
        ("missing_division", "data", "mlp", "gradients"),
        ("shifted_shard", "data", "mlp", "loss"),
        ("swapped_layers", "single", "gpt", "loss"),
        ("built_in_epsilon", "single", "mlp", "losses"),
    ],
)
def test_fault(
    fault: str, strategy: str, workload: str, caught: str,
    prove: Callable[[Case], Verdict], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAULT", fault)
    devices = 2 if strategy == "data" else 1
    verdict = prove(
        Case("faulty", "torch", strategy, "", workload, "tiny", "real", "cpu", devices, steps=1)
    )
    assert verdict.status == ("failed" if caught else "ok"), verdict
    assert caught in verdict.reason
