"""What a proof does to a case: its status, its reason and its loss curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from suite.analysis.parity import Verdict
from suite.analysis.rows import CaseResult
from suite.contract.case import Case
from suite.contract.files import TableRow


def judge(
    result: CaseResult, verdict: Verdict | None, lead: str = "", missing: str = ""
) -> None:
    """Applies the verdict on one launch to its case. Every launch must pass.

    Args:
        result: The case. It keeps the verdict with the largest error, and is refused if one
            failed.
        verdict: What the comparison with the reference says; None if there is no reference.
        lead: Words before the reason.
        missing: Why there is no reference, as far as it is known.
    """
    if verdict is None:
        why = f": {missing}" if missing else ""
        result.status, result.reason = "refused", f"no reference could be computed{why}"
        return
    if result.parity is None or verdict.error > result.parity.error:
        result.parity = verdict
    if verdict.status == "failed":
        result.status, result.reason = "refused", f"{lead}{verdict.reason}"


def apply_proofs(run: dict[str, Any], results: Sequence[CaseResult]) -> None:
    """Applies what launches of their own proved: in float32, or of a model's first units alone.

    Args:
        run: The content of run.json, with its proofs.
        results: The cases of the run.
    """
    kept = run.get("proofs", {})
    if not kept:  # most runs have none, and their cases' other names take a while to make
        return
    for result in results:
        for case in dict.fromkeys((result.case.strict, result.case)):
            proof = kept.get(case.case_id)
            own = case == result.case and not (proof and proof.get("depth"))
            if proof is not None and not own and result.status != "unsupported":
                _apply(proof, result, case)


def _apply(proof: dict[str, Any], result: CaseResult, case: Case) -> None:
    lead = f"in {case.dtype} " if case != result.case else ""
    if depth := proof.get("depth"):
        lead += f"with {depth} units "
    if proof["status"] != "ok":
        result.status = proof["status"]
        result.reason = " ".join(["proof", *lead.split()]) + f": {proof['reason']}"
        return
    verdict = Verdict(**proof["parity"]) if proof["parity"] else None
    judge(result, verdict, f"{lead}it " if lead else "", proof.get("unproven", ""))


def loss_rows(case_id: str, losses: Sequence[float], expected: Sequence[float]) -> list[TableRow]:
    """Makes the rows of losses.csv: the losses of the first steps beside those of the reference.

    Args:
        case_id: The case.
        losses: Its losses, one for each step.
        expected: Losses of the reference.
    """
    return [
        {"case_id": case_id, "step": step, "loss": loss, "reference_loss": reference}
        for step, (loss, reference) in enumerate(zip(losses, expected, strict=False))
    ]
