"""A worker that does not compute as its case says is told from one that does, with the cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.contract.asked import NotAsAsked, check_found
from suite.contract.case import Case

CASE = Case("pytorch", "torch", "single", "", "mlp", "tiny", "synthetic", "cpu", 1)
AS_ASKED = {"threads_per_device": "1", "dtype": "float32", "mode": "eager", "tf32": "off"}


def test_as_asked() -> None:
    check_found(CASE, AS_ASKED | {"determinism": "on"}, {})
    check_found(replace(CASE, mode="compiled"), AS_ASKED | {"mode": "compiled"}, {})
    check_found(replace(CASE, dtype="tf32"), AS_ASKED | {"dtype": "tf32", "tf32": "on"}, {})
    check_found(CASE, {}, {})  # an adapter that writes no such entries


@pytest.mark.parametrize(("name", "value"), [
    ("threads_per_device", "2"), ("dtype", "float16"), ("mode", "compiled"), ("tf32", "on"),
])
def test_each_entry_is_held(name: str, value: str) -> None:
    words = f"{name} asked {AS_ASKED[name]}, found {value}"
    with pytest.raises(NotAsAsked, match=words):
        check_found(CASE, AS_ASKED | {name: value}, {})


@pytest.mark.parametrize(("environment", "words"), [
    ({"TORCHDYNAMO_DISABLE": "1", "PATH": "/bin"}, "TORCHDYNAMO_DISABLE=1 in the worker's"),
    ({"TF_XLA_FLAGS": "--tf_xla_auto_jit=2", "OMP_NUM_THREADS": "1"}, "TF_XLA_FLAGS=--tf_xla_au"),
    ({"OMP_NUM_THREADS": "1"}, "a plugin or site hook"),
])
def test_the_likely_cause(environment: dict[str, str], words: str) -> None:
    with pytest.raises(NotAsAsked, match=words):
        check_found(replace(CASE, mode="compiled"), AS_ASKED, environment)
