"""What a launch is held against, and a reference that proves nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from suite.analysis.parity import Evidence
from suite.contract.workloads import initial_weights
from suite.measure.proofs import Proofs, references
from tests.synthetic import SINGLE


def _trained(change: float, gradient: float = 1.0) -> Evidence:
    initial = initial_weights(SINGLE.spec, SINGLE.seed)
    gradients = {name: np.full_like(array, gradient) for name, array in initial.items()}
    parameters = {name: array + np.float32(change) for name, array in initial.items()}
    return Evidence([1.0, 0.5], gradients, parameters)


@pytest.mark.parametrize(("reference", "status", "said"), [
    (_trained(0.1), "ok", ""), (_trained(0.0), "failed", "does not train"),
    (_trained(float("nan")), "failed", "NaN"), (_trained(0.1, 1e30), "failed", "square"),
])
def test_a_reference_that_proves_nothing_refuses_even_its_like(
    reference: Evidence, status: str, said: str
) -> None:
    starter: Any = None
    proofs = Proofs(starter, lambda text: None)
    proofs.references[SINGLE.reference_id] = reference
    verdict = proofs.verdict(SINGLE, reference)
    assert verdict and verdict.status == status and said in verdict.reason


def test_a_case_without_a_reference_has_no_verdict() -> None:
    starter: Any = None
    assert Proofs(starter, lambda text: None).verdict(SINGLE, _trained(0.1)) is None


def test_another_adapters_reference_is_preferred() -> None:
    assert references("horovod")[0] == ("pytorch", "torch")
    assert references("fake")[-1] == ("fake", "numpy")
    assert replace(SINGLE, framework="fake").reference_id == SINGLE.reference_id
