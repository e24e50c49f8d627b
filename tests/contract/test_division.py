"""What may be split into how many parts."""

from __future__ import annotations

from typing import Any

import pytest

from suite.config.matrix import build_matrix
from suite.config.resolution import resolve
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.splits.division import check_divides, division_problem
from suite.contract.splits.strategies import VARIANTS
from suite.contract.workloads import WORKLOADS, Workload

ALL_THREE = "data+intra_layer+inter_layer"
ALL = [spec for sizes in WORKLOADS.values() for spec in sizes.values()]


def _case(workload: str, size: str, strategy: str, devices: int, **other: Any) -> Case:
    variant = other.pop("variant", "gpipe" if "inter_layer" in strategy else "")
    return Case("pytorch", "torch", strategy, variant, workload, size, "real", "cpu", devices,
                **other)


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: f"{spec.name}-{spec.size}")
def test_two_devices_share_every_workload(spec: Workload) -> None:
    for strategy, variants in VARIANTS.items():
        for variant in variants:
            devices = 1 if strategy == "single" else 2
            case = _case(spec.name, spec.size, strategy, devices, variant=variant)
            if len(spec.units()) >= case.stages:  # too few is a test of its own
                check_divides(case)


@pytest.mark.parametrize(
    ("strategy", "devices"), [("data", 7), ("intra_layer", 4), ("inter_layer", 3)]
)
def test_uneven_split_is_refused(strategy: str, devices: int) -> None:
    case = _case("mlp", "tiny", strategy, devices)
    with pytest.raises(UsageError, match="devices for mlp tiny"):
        check_divides(case)
    assert division_problem(case).startswith("devices for mlp tiny")
    assert "Fix" not in division_problem(case)


def test_each_axis_must_divide() -> None:
    check_divides(_case("gpt", "tiny", ALL_THREE, 8))
    with pytest.raises(UsageError, match="divisor of the global batch"):
        check_divides(_case("gpt", "tiny", "data+intra_layer", 32, mesh="data=16,intra_layer=2"))
    with pytest.raises(UsageError, match="got 8, expected a divisor of the 4 heads"):
        check_divides(_case("gpt", "tiny", "data+intra_layer", 16, mesh="data=2,intra_layer=8"))
    with pytest.raises(UsageError, match="8 micro-batches to divide a replica's share, 4"):
        check_divides(_case("gpt", "tiny", "data+inter_layer", 8, mesh="data=2,inter_layer=4"))


def test_a_stage_ends_outside_what_devices_share() -> None:
    mesh = "intra_layer+inter_layer"
    check_divides(_case("mlp", "wide", mesh, 4))
    check_divides(_case("mlp", "tiny", "data+inter_layer", 4))
    with pytest.raises(UsageError, match="got 2, expected none that ends between"):
        check_divides(_case("mlp", "tiny", mesh, 4))


@pytest.mark.parametrize(("workload", "devices", "said"), [
    ("mlp", 2, "got 2, expected at least 4, 2 stages on each of 2"), ("gpt", 4, "at least 8"),
    ("gpt", 1, "2 or more"),
])
def test_too_few_units_for_two_stages_each(workload: str, devices: int, said: str) -> None:
    check_divides(_case("gpt", "tiny", "inter_layer", 2, variant="interleaved"))
    with pytest.raises(UsageError, match=said):
        check_divides(_case(workload, "tiny", "inter_layer", devices, variant="interleaved"))


@pytest.mark.parametrize(("strategy", "variant", "accumulate", "said"), [
    ("single", "", 3, "a divisor of the 8 samples of a device"),
    ("data", "", 8, "a divisor of the 4 samples of a device"),
    ("inter_layer", "gpipe", 4, "a divisor of the 2 samples of a micro-batch"),
    ("inter_layer", "naive", 2, "naive has one micro-batch a step"),
    ("data+intra_layer", "", 8, "a divisor of the 4 samples of a device"),
    ("data+inter_layer", "1f1b", 2, "a divisor of the 1 samples of a micro-batch"),
])
def test_uneven_micro_batches_are_refused(
    strategy: str, variant: str, accumulate: int, said: str
) -> None:
    devices = 1 if strategy == "single" else 2 ** len(strategy.split("+"))
    with pytest.raises(UsageError, match=said):
        check_divides(_case("gpt", "tiny", strategy, devices, variant=variant,
                            accumulate=accumulate))
    check_divides(_case("gpt", "tiny", "data", 2, accumulate=4))


def test_every_planned_share_comes_apart() -> None:
    shares: dict[str, Any] = {"global_batch": 12, "device_speeds": (1.0, 0.5)}  # 8 and 4
    check_divides(_case("gpt", "tiny", "data", 2, accumulate=4, **shares))
    with pytest.raises(UsageError, match="a divisor of the 4 samples of a device"):
        check_divides(_case("gpt", "tiny", "data", 2, accumulate=8, **shares))


def _counts(**options: Any) -> list[tuple[int, str]]:
    asked = {"framework": ["pytorch"], "workload": ["gpt"], "size": "tiny"} | options
    return [(case.devices, case.mesh) for case in build_matrix(resolve("quick", None, asked), 0)]


def test_of_several_numbers_of_devices_a_mesh_takes_its_own() -> None:
    two = "data=2,intra_layer=2"
    assert _counts(strategy=["data+intra_layer"], devices=[2, 4, 8]) == [
        (4, two), (8, "data=4,intra_layer=2"),
    ]
    other = "data=2,intra_layer=4"
    assert _counts(strategy=["data+intra_layer"], devices=[4, 8], mesh=[other]) == [
        (4, two), (8, other),
    ]
    with pytest.raises(UsageError, match="a product of 4"):
        _counts(strategy=["data+intra_layer"], devices=[2, 4], mesh=[other])
    with pytest.raises(UsageError, match="devices for data.intra_layer"):
        _counts(strategy=["data+intra_layer"], devices=[2, 3])
