"""The gate passes equal evidence and catches planted faults."""

import numpy as np
import pytest

from suite.analysis.parity import Evidence, check

INITIAL = {"layer0.weight": np.zeros((3, 2), np.float32)}


def _evidence(loss: float = 1.0, gradient: float = 1.0, parameter: float = 1.0) -> Evidence:
    shape = (3, 2)
    return Evidence(
        [loss, 0.5],
        {"layer0.weight": np.full(shape, gradient)},
        {"layer0.weight": np.full(shape, parameter)},
    )


def test_equal_is_ok() -> None:
    assert check(_evidence(), _evidence(), INITIAL).status == "ok"


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"loss": 1.00001}, "first loss"),
        ({"gradient": 2.0}, "gradients"),
        ({"parameter": 1.1}, "updates"),
        ({"loss": float("nan")}, "loss"),
    ],
)
def test_faults_are_named(fault: dict, named: str) -> None:
    verdict = check(_evidence(**fault), _evidence(), INITIAL)
    assert verdict.status == "failed"
    assert named in verdict.reason


def test_missing_tensor_fails() -> None:
    found = Evidence([1.0, 0.5], {}, _evidence().parameters)
    assert check(found, _evidence(), INITIAL).status == "failed"
