"""Constants from planted operations: what was put in comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.contract.errors import UsageError
from suite.contract.workloads import find_workload
from suite.foresight.measured import (
    LAYER_LAUNCHES,
    constants_of,
    posterior_of,
    read_constants,
    write_constants,
)
from suite.foresight.plans import Plan, plans_of
from suite.foresight.predict import predict
from suite.foresight.workloads import model_of_workload
from suite.launch.group import LaunchRequest, Outcome
from suite.measure.constants import (
    ATTENTION,
    MOST_PRODUCT_FLOPS,
    cases_to_calibrate,
    measure_constants,
    plan_for,
)

RATE, RAMP, STREAM, LAUNCH, DELAY, ALPHA = 5e10, 2e-5, 8e9, 1.5e-5, 2e-4, 1e-9
# Attention at a quarter of the rate; seconds of an element of activation and normalisation.
SHARE, CURVE, NORMING = 0.25, 3e-9, 2e-9
WHOSE = {"framework": "pytorch", "engine": "torch", "mode": "eager", "device": "cpu", "devices": 2}
PLAN = plan_for([find_workload("gpt", "small")], "cpu")


def _record(rank: int, slower: float = 1.0) -> dict[str, Any]:
    """What a rank leaves whose operations take exactly as long as the planted constants say."""
    operations = [
        *({"kind": "product", "size": list(lengths),
           "seconds": slower * (2.0 * np.prod(lengths) / RATE + RAMP)}
          for lengths in PLAN.products),
        {"kind": "stream", "size": [PLAN.stream_elements],
         "seconds": 12.0 * PLAN.stream_elements / STREAM},
        {"kind": "attention", "size": list(PLAN.attention),
         "seconds": 3.0 * _attention_seconds() / SHARE},
        {"kind": "activation", "size": [PLAN.activation_elements],
         "seconds": 3.0 * PLAN.activation_elements * (CURVE + 8.0 / STREAM)},
        {"kind": "norm", "size": list(PLAN.norm),
         "seconds": 3.0 * np.prod(PLAN.norm) * (NORMING + 8.0 / STREAM)},
        {"kind": "layers", "size": list(PLAN.layers),
         "seconds": PLAN.layers[1] * LAYER_LAUNCHES * LAUNCH},
        *({"kind": "update", "size": [count], "seconds": 1e-5 + count * 28.0 / STREAM}
          for count in PLAN.updates),
    ]
    samples = [
        {"collective": name, "bytes": size, "repetition": repetition, "call": 0, "rank": rank,
         "start_s": 0.0, "end_s": DELAY + ALPHA * size, "load_s": PLAN.load_s}
        for name in ("all_reduce", "send_recv") for size in PLAN.link_bytes
        for repetition in range(6)
    ]
    return {"rank": rank, "backend": "planted", "transport": "wire", "resident_bytes": 3e8,
            "participants": {"all_reduce": 2, "send_recv": 2}, "operations": operations,
            "samples": samples, "contention": 1.7, "call_slowdown": 3.5}


def _attention_seconds() -> float:
    """A forward pass at the full rate: two products of all heads, each filling the device once."""
    heads, tokens, width = PLAN.attention
    return 2.0 * (2.0 * heads * tokens * tokens * width / RATE + RAMP)


def test_planted_constants_are_found() -> None:
    values = constants_of([_record(0), _record(1)], WHOSE, "now").values
    wanted = {"product_flops_s": RATE, "ramp_s": RAMP, "stream_bytes_s": STREAM,
              "launch_s": LAUNCH, "all_reduce_s": DELAY / 2, "all_reduce_bytes_s": 1.0 / ALPHA,
              "hop_s": DELAY, "hop_bytes_s": 1.0 / ALPHA, "contention": 1.7, "call_slowdown": 3.5,
              "update_bytes": 28.0, "attention_share": SHARE, "curve_s": CURVE,
              "norm_s": NORMING}
    for name, value in wanted.items():
        assert values[name] == pytest.approx(value, rel=0.05), name


def test_a_hop_that_only_moves_a_pointer_is_free() -> None:
    records = [_record(0), _record(1)]
    for record in records:
        for one in record["samples"]:
            if one["collective"] == "send_recv":  # the larger, the sooner: noise alone
                one["end_s"] = DELAY - 1e-12 * one["bytes"]
    values = constants_of(records, WHOSE, "now").values
    assert values["hop_bytes_s"] > 1e12 and values["hop_s"] == pytest.approx(DELAY, rel=0.05)


def test_the_slowest_rank_counts() -> None:
    values = constants_of([_record(0), _record(1, slower=2.0)], WHOSE, "now").values
    assert values["product_flops_s"] == pytest.approx(RATE / 2, rel=0.05)


def test_constants_are_stored_with_their_date(tmp_path: Path) -> None:
    found = constants_of([_record(0), _record(1)], WHOSE, "2026-01-01T00:00:00+00:00")
    path = tmp_path / "deep" / "calibration.json"
    write_constants(path, [found])
    assert read_constants(path) == [found]
    assert read_constants(tmp_path / "none.json") == []
    path.write_text('{"schema": 99}')
    with pytest.raises(UsageError, match="--calibrate"):
        read_constants(path)


def test_a_step_of_known_operations_is_predicted() -> None:
    """One device, one dense model: its products, streams and launches, one after another."""
    found = constants_of([_record(0), _record(1)], WHOSE, "now")
    workload = find_workload("mlp", "wide")
    posterior = posterior_of(found, 0.0, 0.1)
    batch = workload.global_batch
    one = predict(model_of_workload(workload), plans_of([Plan(micro_batch=batch)]),
                  posterior.stack)
    products = workload.flops_per_sample() * batch / RATE
    assert products < one.step_s[0] < 2.5 * products
    both = predict(model_of_workload(workload), plans_of([Plan(replicas=2, micro_batch=batch / 2)]),
                   posterior.stack)
    assert both.communication_s[0] > 0.0 and both.step_s[0] > one.step_s[0] / 2


def test_what_attention_activation_and_norms_take_is_in_a_step() -> None:
    """And a calibration of a release that did not measure them is still read."""
    found = constants_of([_record(0), _record(1)], WHOSE, "now")
    earlier = replace(found, values={name: value for name, value in found.values.items()
                                     if name not in ("attention_share", "curve_s", "norm_s")})
    workload = find_workload("gpt", "small")
    plans = plans_of([Plan(micro_batch=workload.global_batch)])
    now, then = (
        float(predict(model_of_workload(workload), plans,
                      posterior_of(one, 0.0, 0.1).stack).step_s[0]) for one in (found, earlier))
    elements = workload.global_batch * workload.sequence * 4 * workload.width * workload.blocks
    products = 2 * workload.global_batch * workload.heads * workload.sequence**2 * 2 * (
        workload.width // workload.heads) * workload.blocks
    normed = workload.global_batch * workload.sequence * workload.width * (2 * workload.blocks + 1)
    more = 3.0 * (
        elements * CURVE + normed * NORMING + products / RATE * (1 / SHARE - 1))
    assert now - then == pytest.approx(more, rel=0.1)


def test_the_plan_has_the_models_own_attention() -> None:
    assert PLAN.attention == (8 * 4, 128, 32) and PLAN.norm == (4 * 128, 256)
    assert plan_for([find_workload("mlp", "wide")], "cpu").attention == ATTENTION
    heads, tokens, width = plan_for([find_workload("gpt", "gpt3-xl")], "cpu").attention
    assert heads * 4.0 * tokens**2 * width <= MOST_PRODUCT_FLOPS["cpu"] and heads >= 1


def test_every_framework_is_launched_once_and_failures_have_reasons(tmp_path: Path) -> None:
    asked: list[LaunchRequest] = []

    def launcher(request: LaunchRequest) -> Outcome:
        asked.append(request)
        if request.case.framework == "horovod":
            return Outcome("failed", "planted", 1.0, [])
        return Outcome("ok", "", 1.0, [_record(0), _record(1)])

    cases = cases_to_calibrate({"pytorch": ["torch"], "horovod": ["torch"]},
                               ["pytorch", "horovod"], ["eager"], "cpu", 2)
    found, missing = measure_constants(
        cases, PLAN, tmp_path, {"pytorch": "python", "horovod": "python"},
        lambda *_: None, launcher)
    assert [one.framework for one in found] == ["pytorch"]
    assert missing == {"horovod.torch.eager": "failed: planted"}
    assert all(request.worker == "suite.ranks.operations" for request in asked)


def test_the_plan_has_the_models_own_products() -> None:
    own = [lengths for lengths in PLAN.products if 256 in lengths and 1024 in lengths]
    assert len(own) >= 3 and len(PLAN.products) <= 13
