"""What verdicts do to a case: the worst one stays, and a failed one refuses it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from suite.analysis.judging import apply_proofs, judge, loss_rows
from suite.analysis.parity import Verdict
from suite.analysis.rows import CaseResult
from suite.contract.case import Case

CASE = Case("pytorch", "torch", "data", "", "gpt", "tiny", "real", "cpu", 2)
COARSE = replace(CASE, dtype="bf16")
GOOD, BAD = Verdict("ok", 0.2, "", "float64"), Verdict("failed", 7.0, "losses by 7", "float64")


def test_the_largest_error_of_all_launches_stays() -> None:
    result = CaseResult(CASE)
    for error in (0.2, 0.5, 0.4):
        judge(result, replace(GOOD, error=error, proof=str(error)))
    assert (result.status, result.parity) == ("ok", replace(GOOD, error=0.5, proof="0.5"))
    judge(result, replace(GOOD, error=0.5, proof="later"))
    assert result.parity and result.parity.proof == "0.5"


def test_one_failed_launch_refuses_the_case_for_good() -> None:
    result = CaseResult(CASE)
    judge(result, BAD, lead="with 2 units it ")
    judge(result, GOOD)
    assert (result.status, result.reason, result.parity) == (
        "refused", "with 2 units it losses by 7", BAD)


@pytest.mark.parametrize(("missing", "said"), [
    ("", "no reference could be computed"),
    ("too large", "no reference could be computed: too large"),
])
def test_without_a_reference_nothing_is_proven(missing: str, said: str) -> None:
    result = CaseResult(CASE)
    judge(result, None, missing=missing)
    assert (result.status, result.reason, result.parity) == ("refused", said, None)


def _proof(verdict: Verdict | None = GOOD, **changes: Any) -> dict[str, Any]:
    return {"status": "ok", "reason": "", "parity": asdict(verdict) if verdict else None,
            "depth": 0, "unproven": ""} | changes


def _applied(case: Case, proofs: dict[str, Any], status: str = "ok") -> CaseResult:
    result = CaseResult(case, status=status)
    apply_proofs({"proofs": proofs}, [result])
    return result


def test_a_case_in_float32_is_proven_by_its_own_launches() -> None:
    assert _applied(CASE, {CASE.case_id: _proof(BAD)}).parity is None
    apply_proofs({}, [CaseResult(CASE)])  # a run of an early release has none


def test_a_coarse_case_is_proven_in_float32_and_says_so() -> None:
    result = _applied(COARSE, {CASE.case_id: _proof()})
    assert (result.status, result.parity) == ("ok", GOOD)
    failed = _applied(COARSE, {CASE.case_id: _proof(BAD)})
    assert (failed.status, failed.reason) == ("refused", "in float32 it losses by 7")
    ended = _applied(COARSE, {CASE.case_id: _proof(None, status="oom", reason="no room")})
    assert (ended.status, ended.reason) == ("oom", "proof in float32: no room")
    unproven = _applied(COARSE, {CASE.case_id: _proof(None, unproven="too large")})
    assert unproven.reason == "no reference could be computed: too large"


def test_a_large_case_is_proven_by_its_first_units_in_its_own_format_too() -> None:
    failed = _applied(CASE, {CASE.case_id: _proof(BAD, depth=2)})
    assert (failed.status, failed.reason) == ("refused", "with 2 units it losses by 7")
    both = _applied(COARSE, {CASE.case_id: _proof(depth=2), COARSE.case_id: _proof(BAD, depth=2)})
    assert (both.status, both.reason) == ("refused", "with 2 units it losses by 7")
    ended = _applied(COARSE, {CASE.case_id: _proof(None, depth=2, status="timeout", reason="late")})
    assert ended.reason == "proof in float32 with 2 units: late"


def test_what_cannot_run_is_not_refused_beside() -> None:
    left = _applied(COARSE, {CASE.case_id: _proof(BAD)}, status="unsupported")
    assert (left.status, left.reason, left.parity) == ("unsupported", "", None)


def test_losses_stand_beside_those_of_the_reference_as_far_as_both_go() -> None:
    assert loss_rows("a", [3.0, 2.0, 1.0], [3.5, 2.5]) == [
        {"case_id": "a", "step": 0, "loss": 3.0, "reference_loss": 3.5},
        {"case_id": "a", "step": 1, "loss": 2.0, "reference_loss": 2.5},
    ]
