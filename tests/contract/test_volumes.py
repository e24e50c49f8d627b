"""Bytes and counts of a step by closed formula."""

from __future__ import annotations

import pytest

from suite.contract import case as cases
from suite.contract.case import Case
from suite.contract.splits.strategies import COMPRESSIONS
from suite.contract.splits.volumes import Communications, logical_communications
from suite.contract.workloads import WORKLOADS, Workload, parameter_count
from tests.convolutions import Convolutions

ALL = [spec for sizes in WORKLOADS.values() for spec in sizes.values()]


def _found(strategy: str, workload: str, size: str, framework: str = "pytorch",
           variant: str = "", devices: int = 2, accumulate: int = 1) -> Communications:
    engine = "tensorflow" if framework == "tensorflow" else "torch"
    return logical_communications(
        Case(framework, engine, strategy, variant, workload, size, "real", "cpu", devices,
             accumulate=accumulate)
    )


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "sized_workload", lambda *asked: Convolutions())


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: f"{spec.name}-{spec.size}")
def test_data_sums_every_gradient_once(spec: Workload) -> None:
    found = _found("data", spec.name, spec.size)
    assert {kind for kind, _ in found} == {"all_reduce"} and len(found) == len(spec.shapes())
    assert sum(size for _, size in found) == 4 * parameter_count(spec)


def test_one_device_says_nothing() -> None:
    assert _found("single", "mlp", "tiny", devices=1) == []


def test_intra_layer_of_mlp_wide() -> None:
    size = 4 * 128 * 1024
    # Two pairs forward; backward the second alone, since the first pair's input is data.
    assert _found("intra_layer", "mlp", "wide") == [("all_reduce", size)] * 3
    # There and back of the hidden state; the features go one way: into the pair, 64 wide.
    hops = _found("intra_layer", "mlp", "wide", "tensorflow")
    assert hops == [("send_recv", 4 * 128 * 64)] + [("send_recv", size)] * 6


def test_intra_layer_of_a_transformer_has_four_sums_a_block() -> None:
    assert _found("intra_layer", "gpt", "tiny") == [("all_reduce", 4 * 8 * 32 * 64)] * 16


@pytest.mark.parametrize(("framework", "kind", "outer", "inner"), [
    ("pytorch", "all_reduce", 2, 2), ("tensorflow", "send_recv", 4, 4),
])
@pytest.mark.usefixtures("planted")
def test_a_sum_in_the_middle_of_a_branch(
    framework: str, kind: str, outer: int, inner: int
) -> None:
    found = _found("intra_layer", "any", "any", framework)
    assert found.count((kind, 4 * 8 * 4 * 4 * 8)) == outer
    assert found.count((kind, 4 * 8 * 2)) == inner
    assert len(found) == outer + inner


@pytest.mark.parametrize(("variant", "parts"), [("gpipe", 4), ("1f1b", 4), ("naive", 1)])
def test_inter_layer_passes_the_boundary_both_ways(variant: str, parts: int) -> None:
    found = _found("inter_layer", "mlp", "wide", variant=variant)
    assert found == [("send_recv", 4 * 128 // parts * 1024)] * (2 * parts)


def test_an_interleaved_pipeline_has_three_cuts_on_two_devices() -> None:
    found = _found("inter_layer", "gpt", "tiny", variant="interleaved")
    assert found == [("send_recv", 4 * 2 * 32 * 64)] * (2 * 4 * 3) + [("all_reduce", 4 * 256 * 64)]


def test_a_tied_table_is_summed_once() -> None:
    table, activation = 4 * 256 * 64, 4 * 2 * 32 * 64
    hops = [("send_recv", activation)] * 8
    assert _found("inter_layer", "gpt", "tiny", variant="gpipe") == [*hops, ("all_reduce", table)]
    placed = _found("inter_layer", "gpt", "tiny", "tensorflow", "gpipe")
    assert placed == [*hops, ("send_recv", table), ("send_recv", table)]


def test_both_streams_pass_a_cut() -> None:
    found = _found("inter_layer", "xlnet", "tiny", variant="naive")
    assert found[:2] == [("send_recv", 4 * 8 * 2 * 32 * 64)] * 2
    assert _found("intra_layer", "xlnet", "tiny") == [("all_reduce", 4 * 8 * 2 * 32 * 64)] * 16


def test_an_efficientnet_sums_what_it_squeezes() -> None:
    found = _found("intra_layer", "efficientnet", "tiny")
    assert len(found) == 3 * 4  # three blocks widen
    assert [size for _, size in found[:4]] == [
        4 * 16 * 8 * 8 * 24, 4 * 16 * 16 * 16 * 16, 4 * 16 * 4, 4 * 16 * 4,
    ]


@pytest.mark.usefixtures("planted")
def test_a_boundary_of_images_counts_its_pixels() -> None:
    found = _found("inter_layer", "any", "any", variant="naive")
    assert found == [("send_recv", 4 * 8 * 4 * 4 * 8)] * 2


def test_accumulated_gradients_are_summed_once() -> None:
    assert _found("data", "gpt", "tiny", accumulate=4) == _found("data", "gpt", "tiny")


def test_accumulating_repeats_what_a_pass_needs() -> None:
    whole, micro = (_found("intra_layer", "gpt", "tiny", accumulate=k) for k in (1, 4))
    assert micro == [(kind, size // 4) for kind, size in whole] * 4
    gathers, again = (
        [size for kind, size in _found("data", "gpt", "tiny", variant="fsdp", accumulate=k)
         if kind == "all_gather"] for k in (1, 4)
    )
    assert len(again) == 4 * len(gathers) and sum(again) == 4 * sum(gathers)


def test_a_pipeline_has_as_many_more_micro_batches() -> None:
    whole = _found("inter_layer", "mlp", "wide", variant="1f1b")
    assert _found("inter_layer", "mlp", "wide", variant="1f1b", accumulate=2) == [
        (kind, size // 2) for kind, size in whole * 2
    ]


def test_bfloat16_halves_what_ranks_exchange_but_not_gradients() -> None:
    def bytes_of(framework: str, strategy: str, variant: str, dtype: str) -> int:
        case = Case(framework, "torch", strategy, variant, "mlp", "wide", "real", "cpu", 2, dtype)
        return sum(size for _, size in logical_communications(case))

    def share(framework: str, *cell: str) -> float:
        return bytes_of(framework, *cell, "bf16") / bytes_of(framework, *cell, "float32")

    assert share("pytorch", "intra_layer", "") == share("pytorch", "inter_layer", "gpipe") == 0.5
    assert share("pytorch", "data", "") == share("horovod", "intra_layer", "") == 1.0
    # Two gathers of 2 bytes and a scatter of 4, of three times 4.
    assert share("pytorch", "data", "fsdp") == pytest.approx(8 / 12)


@pytest.mark.parametrize("variant", COMPRESSIONS)
def test_compressed_gradients_have_half_the_bytes(variant: str) -> None:
    whole, half = (_found("data", "gpt", "tiny", variant=v) for v in ("", variant))
    assert half == [(kind, size // 2) for kind, size in whole]


def test_zero_sends_what_its_stage_splits() -> None:
    plain, one, two, three = (_found("data", "gpt", "tiny", variant=v)
                              for v in ("", "zero1", "zero2", "fsdp"))
    parameters = sum(size for _, size in plain)
    assert one == plain + [("broadcast", size) for _, size in plain]
    gathered = [sum(size for kind, size in found if kind == "all_gather") for found in (two, three)]
    # A unit that stays whole is gathered once; embeddings and the last norm are outside of units.
    assert gathered[0] == parameters < gathered[1] < 2 * parameters
    assert {kind for kind, _ in two} == {"all_gather", "reduce_scatter"}


def test_a_recomputed_pass_repeats_its_forward_sums() -> None:
    again = logical_communications(Case(
        "pytorch", "torch", "intra_layer", "", "gpt", "tiny", "real", "cpu", 2, recompute="blocks"
    ))
    once = _found("intra_layer", "gpt", "tiny")
    assert again == once[:1] * (len(once) * 3 // 2)
