"""Planted conditions become warnings, and only they do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from suite.analysis.doubts import Conditions, drift, find_warnings
from suite.contract.case import Case
from suite.contract.records import RankRecord
from suite.contract.row import Row
from suite.contract.warnings import REGISTRY, flatten, warn

CASE = Case("fake", "numpy", "data", "", "mlp", "tiny", "synthetic", "cpu", 2)


def _record(core: int, **more: Any) -> RankRecord:
    return replace(RankRecord(core, steady=True, affinity=[core]), **more)


def _block(rate: float = 1e9, steal: float | None = 0.0, *throttles: str) -> dict[str, Any]:
    return {
        "rates": [{"device": "cpu0", "matmul_flops_s": rate},
                  {"device": "cpu1", "matmul_flops_s": 2 * rate}],
        "steal_share": steal, "gpus": [{"throttle": throttle} for throttle in throttles],
    }


# Of four GPUs the second is too hot.
HOT = _block(1e9, 0.0, "", "hardware thermal", "", "")


def _codes(
    launches: list[Any] | None = None, blocks: list[Any] | None = None,
    precision: float | None = None, cores: list[list[int]] | None = None, case: Case = CASE,
    oversubscribed: bool = False, **row: Any,
) -> list[str]:
    launches = launches or [[_record(0), _record(1)]] * 6
    full = Row(repeats=len(launches), launch_step_s=[1.0] * len(launches), noise_cv=0.01,
               step_time_s=1.0, step_time_ci_low_s=0.99, step_time_ci_high_s=1.01,
               stopped="repeats")
    full.put(row)
    conditions = Conditions(blocks or [_block()] * 6, precision)
    asked = cores or [[0, 1]] * len(launches)
    found = find_warnings(case, launches, asked, full, conditions, oversubscribed)
    return [warning.code for warning in found]


def test_nothing_planted_is_nothing_said() -> None:
    assert _codes() == []


def test_an_interval_as_narrow_as_was_asked_for_is_precise() -> None:
    width = (1.01 - 0.99) / 2
    assert _codes(precision=width) == []
    assert _codes(precision=width * 0.999) == ["imprecise"]


@pytest.mark.parametrize(
    ("planted", "code"),
    [
        ({"launches": [[_record(0), _record(1)]]}, "one_launch"),
        ({"launches": [[_record(0), _record(1)]] * 5}, "few_launches"),
        ({"precision": 0.005}, "imprecise"),
        ({"noise_cv": 0.11}, "noisy"),
        ({"launches": [[_record(0), _record(1, steady=False)]] * 6}, "no_steady_state"),
        ({"blocks": [_block(1e9)] * 5 + [_block(1.12e9)]}, "drift"),
        ({"blocks": [_block()] * 5 + [_block(steal=0.06)]}, "steal"),
        ({"blocks": [HOT, *[_block()] * 5], "case": replace(CASE, device="cuda")}, "throttled"),
        ({"launches": [[_record(0), _record(0)]] * 6}, "not_pinned"),
        ({"launches": [[_record(0), _record(1, affinity=[0, 1])]] * 6}, "not_pinned"),
        ({"oversubscribed": True}, "oversubscribed"),
        ({"launches": [[_record(0, affinity=[0, 1], ledger={"shared_pool": "true"})]] * 6},
         "shared_pool"),
        ({"launches": [[_record(0), _record(1, ledger={"gradient_communication": "float16"})]] * 6},
         "rounded_gradients"),
        ({"launches": [[_record(0), _record(1, ledger={"emulated": "by others"})]] * 6},
         "emulated"),
        ({"instrumentation_overhead": 0.11}, "probe_overhead"),
        ({"t_comm_exposed_s": 0.5, "t_comm_silent_check_s": 0.2}, "comm_check"),
        ({"run_model_error": 0.26, "t_comm_transfer_s": 0.03}, "unsteady_transfer"),
    ],
)
def test_planted(planted: dict[str, Any], code: str) -> None:
    assert _codes(**planted) == [code]


@pytest.mark.parametrize(
    "planted",
    [
        {"precision": 0.02}, {"noise_cv": 0.1}, {"blocks": [_block(1e9)] * 5 + [_block(1.09e9)]},
        {"blocks": [_block(steal=0.05)] * 6}, {"blocks": [_block(steal=None)] * 6},
        {"instrumentation_overhead": 0.1},
        {"run_model_error": 0.25, "t_comm_transfer_s": 0.03},
        {"run_model_error": 0.9, "t_comm_transfer_s": 0.019},
        {"t_comm_exposed_s": 0.5, "t_comm_silent_check_s": 0.35},
        {"cores": [[1, 0]] * 6, "launches": [[_record(1), _record(0)]] * 6},
        {"blocks": [_block()] * 6 + [_block(2e9)]},
        # What a case did not take did not slow it.
        {"blocks": [HOT] * 6},
        {"blocks": [HOT] * 6, "launches": [[_record(0)]] * 6, "cores": [[0]] * 6,
         "case": replace(CASE, strategy="single", device="cuda", devices=1)},
    ],
)
def test_below_the_limit_or_in_another_block(planted: dict[str, Any]) -> None:
    assert _codes(**planted) == []


def test_one_process_gets_every_core() -> None:
    assert _codes(launches=[[_record(0, affinity=[0, 1])]] * 6, cores=[[1, 0]] * 6) == []


def test_drift_is_of_one_core_over_blocks_not_between_cores() -> None:
    assert drift([_block(1e9), _block(1e9)]) == 0.0
    assert drift([_block(1e9), _block(1.25e9)]) == pytest.approx(0.25)
    assert drift([]) == 0.0


def test_text_of_a_cell() -> None:
    found = [warn("oversubscribed", what="core"), warn("steal", share=0.07, limit=0.05)]
    assert flatten(found) == (
        "oversubscribed: several devices share a core, so no speedup is given; "
        "ask for fewer --devices; "
        "steal: the hypervisor gave 7% of the cores' time to other machines, more than 5%; "
        "use a machine that is not shared"
    )
    assert all(hint for _, hint in REGISTRY.values())
