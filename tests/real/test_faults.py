"""Mistakes people make, planted in real training: the gate catches each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.analysis.parity import Verdict
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.splits.strategies import COMBINED, VARIANTS
from tests.conftest import Launch


@pytest.mark.parametrize(
    ("fault", "strategy", "workload", "caught"),
    [
        ("none", "data", "mlp", ""),
        ("wrong_scale", "single", "mlp", "loss"),
        ("missing_division", "data", "mlp", "gradients"),
        ("shifted_shard", "data", "mlp", "loss"),
        ("swapped_layers", "single", "gpt", "loss"),
        ("built_in_epsilon", "single", "mlp", "losses"),
        ("untied_gradient", "inter_layer", "gpt", "gradients"),
        ("swapped_stages", "inter_layer/interleaved", "gpt", "loss"),
        ("none", "data*2", "mlp", ""),
        ("undivided_micro_batches", "data*2", "mlp", "gradients"),
        ("forgotten_micro_batch", "data*2", "mlp", "gradients"),
        ("wrong_axis", "data+intra_layer", "gpt", "gradients"),
    ],
)
def test_fault(
    fault: str, strategy: str, workload: str, caught: str,
    prove: Callable[[Case], Verdict], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAULT", fault)
    cell, _, accumulate = strategy.partition("*")
    strategy, _, variant = cell.partition("/")
    count = 1 if strategy == "single" else 2 ** len(strategy.split("+"))
    variant = variant or (VARIANTS | COMBINED)[strategy][0]
    verdict = prove(
        Case("faulty", "torch", strategy, variant, workload, "tiny", "real", "cpu", count, steps=1,
             probe_steps=0, warmup_limit=PARITY_STEPS, accumulate=int(accumulate or 1))
    )
    assert verdict.status == ("failed" if caught else "ok"), verdict
    assert caught in verdict.reason


def test_the_others_do_not_wait_for_a_rank_that_died(
    start: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own words are the reason, not a time limit."""
    monkeypatch.setenv("FAULT", "crash")
    outcome, _ = start(Case("faulty", "torch", "data", "", "mlp", "tiny", "real", "cpu", 2,
                            steps=1, probe_steps=0, warmup_limit=PARITY_STEPS))
    assert (outcome.status, "planted crash" in outcome.reason) == ("failed", True), outcome
