"""Every framework records the terms of comparison under the same names, and keeps them equal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.analysis.ledger import MUST_EQUAL, build_ledger, obstacle
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.records import RankRecord
from tests.conftest import Launch
from tests.real.cells import COLUMNS, Find, name, records_of

TERMS = {"dtype": "float32", "mode": "eager", "tf32": "off", "determinism": "off",
         "threads_per_device": "1"}


@pytest.mark.parametrize("case", [
    Case(*column, "single", "", "mlp", "tiny", "real", "cpu", 1, steps=1, probe_steps=0,
         warmup_limit=PARITY_STEPS)
    for column in COLUMNS
], ids=name)
def test_a_single_device_is_comparable_with_any_other(case: Case, ran: Find) -> None:
    ledger = build_ledger(case, [records_of(ran(case))])
    other = replace(case, framework="another", engine="numpy")
    elsewhere = RankRecord(0, affinity=[0], ledger=TERMS)
    assert obstacle(ledger, build_ledger(other, [[elsewhere]])) == ""
    assert set(MUST_EQUAL) <= set(ledger)


@pytest.mark.parametrize(("column", "mode", "variable", "words"), [
    (("pytorch", "torch"), "compiled", ("TORCHDYNAMO_DISABLE", "1"),
     "mode asked compiled, found eager. Likely cause: TORCHDYNAMO_DISABLE=1"),
    (("tensorflow", "tensorflow"), "eager",
     ("TF_XLA_FLAGS", "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"),
     "mode asked eager, found compiled. Likely cause: TF_XLA_FLAGS=--tf_xla_auto_jit=2"),
])
def test_what_a_variable_changes_without_a_word_is_a_failure(
    column: tuple[str, str], mode: str, variable: tuple[str, str], words: str, start: Launch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(*variable)
    monkeypatch.setenv("SUITE_PASS_ENV", variable[0])
    outcome, _ = start(Case(*column, "single", "", "mlp", "tiny", "real", "cpu", 1, steps=1,
                            probe_steps=0, warmup_limit=PARITY_STEPS, mode=mode))
    assert outcome.status == "failed" and words in outcome.reason, outcome
