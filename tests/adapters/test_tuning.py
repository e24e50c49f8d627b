"""What Horovod finds in its environment when the ranks join, by variant."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.horovod import TRAITS
from adapters.horovod.training.common import CYCLE, FUSION, SETTINGS, TUNING, ProcessSets, join
from suite.contract.case import Case, Rank
from suite.contract.splits.strategies import AUTOTUNED, TUNED

CASE = Case("horovod", "torch", "data", "", "mlp", "tiny", "synthetic", "cpu", 2)


def _joined(variant: str) -> dict[str, str]:
    """Horovod's variables as they are while it initialises."""
    seen: dict[str, str] = {}

    def init(process_sets: Any) -> None:
        seen.update({name: value for name, value in os.environ.items() if "HOROVOD" in name})

    hvd = SimpleNamespace(init=init, global_process_set="all")
    case = replace(CASE, variant=variant)
    join(hvd, ProcessSets(hvd, 2, [(0, 1)]), case, Rank(0, 2, Path("launch")))
    return seen


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's settings, which would change every row, and the manifest's."""
    for name in {*SETTINGS, *(name for own in TUNING.values() for name in own)}:
        monkeypatch.setenv(name, "7")


def test_the_plain_variant_has_horovods_defaults() -> None:
    assert not set(SETTINGS) & set(_joined(""))


@pytest.mark.parametrize("variant", TUNED)
def test_a_tuned_variant_has_its_settings_and_a_parameter_left_to_tune(variant: str) -> None:
    found = _joined(variant)
    assert TUNING[variant].items() <= found.items()
    assert not {CYCLE, FUSION} <= set(found)


def test_the_autotuner_writes_what_it_tries_and_starts_from_the_defaults() -> None:
    found = _joined(AUTOTUNED)
    assert found["HOROVOD_AUTOTUNE"] == "1"
    assert found["HOROVOD_AUTOTUNE_LOG"] == str(Path("launch") / "autotune.csv")
    assert not {CYCLE, FUSION} & set(found)


def test_every_tuned_variant_is_offered() -> None:
    assert set(TUNED) == set(TUNING) <= set(TRAITS.variants["data"])
