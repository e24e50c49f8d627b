"""A mesh over two hosts: each of its communications is held against the link that it crosses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.analysis.comm_model import model_columns
from suite.analysis.communication import payloads
from suite.analysis.doubts import Conditions
from suite.analysis.host_places import links_of_processes
from suite.analysis.link_fit import LinkFit
from suite.analysis.rows import CaseResult, build_rows
from suite.cli.link import build_plans
from suite.config.sweep_model import LinkConfig
from suite.contract.case import Case
from suite.contract.records import CommEvent, RankRecord, StepTrace
from suite.measure.links import plans_for_run

MESH = Case("pytorch", "torch", "data+intra_layer", "", "gpt", "tiny", "synthetic", "cpu", 4,
            mesh="data=2,intra_layer=2", hosts=2, global_batch=64)
WITHIN_S_PER_BYTE, ACROSS_S_PER_BYTE = 5e-10, 2e-8
WITHIN = LinkFit("pytorch", "torch", "all_reduce", "gloo", "tcp", 2,
                 alpha_s_per_byte=WITHIN_S_PER_BYTE, latency_s=2e-4, bytes_min=4,
                 bytes_max=1 << 24)
ACROSS = replace(WITHIN, alpha_s_per_byte=ACROSS_S_PER_BYTE, hosts=2)
INSIDE_BYTES, GRADIENT_BYTES = 1_000_000, 2_000_000


def _records() -> list[RankRecord]:
    """Ranks 0 and 1 on one host, 2 and 3 on another; layers are summed inside, gradients across."""

    def events(rank: int) -> list[CommEvent]:
        inside = CommEvent("all_reduce", INSIDE_BYTES, 0.0, 1e-3, key=f"layer of {rank // 2}")
        across = CommEvent("all_reduce", GRADIENT_BYTES, 2e-3, 50e-3, key=f"shard {rank % 2}")
        return [inside, across]

    return [
        RankRecord(
            rank, step_seconds=[0.1] * 3, timed_step_seconds=[0.1], traced_step_seconds=[0.1],
            silent_step_seconds=[0.1], warmup_seconds=[0.2] * 10, steady=True,
            traces=[StepTrace(events(rank), missing="planted")], host="ab"[rank // 2],
        )
        for rank in range(4)
    ]


def test_kinds_say_how_many_hosts_they_cross() -> None:
    assert payloads(_records()) == {
        "all_reduce@2": [INSIDE_BYTES] * 2, "all_reduce@2^2": [GRADIENT_BYTES] * 2}
    at_home = [replace(record, host="a") for record in _records()]
    assert list(payloads(at_home)) == ["all_reduce@2"]


def test_all_devices_of_two_hosts_and_a_hop_between_them() -> None:
    everyone = [CommEvent("all_reduce", 8, 0.0, 1.0, key="sum")]
    assert list(payloads(_two(everyone, everyone))) == ["all_reduce^2"]
    # A library's own timeline is of one rank, which speaks for all.
    assert list(payloads(_two(everyone, []))) == ["all_reduce^2"]
    sent = CommEvent("send_recv", 8, 0.0, 0.0, key="hop", role="send")
    got = CommEvent("send_recv", 8, 0.0, 1.0, key="hop", role="recv")
    assert list(payloads(_two([sent], [got]))) == ["send_recv^2"]


def _two(first: list[CommEvent], second: list[CommEvent]) -> list[RankRecord]:
    return [RankRecord(rank, traces=[StepTrace(events)], host=f"host-{rank}")
            for rank, events in enumerate((first, second))]


@pytest.mark.parametrize("fits", [[WITHIN, ACROSS], [ACROSS, WITHIN]])
def test_the_model_of_a_mesh_has_both_links(fits: list[LinkFit]) -> None:
    result = CaseResult(MESH, [_records()], cores=[[0, 1]])
    (row,) = build_rows("run", [result], Conditions(fits=fits))
    # Two sums inside and two across, each in flight on half of the devices.
    model = WITHIN_S_PER_BYTE * INSIDE_BYTES + ACROSS_S_PER_BYTE * GRADIENT_BYTES
    assert row.t_comm_model_s == pytest.approx(model)
    # 1 ms inside and 48 ms across are 49 ms on every device.
    assert row.contention == pytest.approx(49e-3 / model)
    assert row.comm_verdict.startswith("normal: 1.2x"), row.comm_verdict


def test_a_copy_inside_a_process_is_no_link_between_processes() -> None:
    """TensorFlow's one process of a host copies; over hosts its devices have processes."""
    placed = Case("tensorflow", "tensorflow", "intra_layer", "", "mlp", "tiny", "synthetic", "cpu",
                  4, hosts=2)
    copies = replace(WITHIN, framework="tensorflow", engine="tensorflow", collective="send_recv")
    between = replace(copies, hosts=2)
    assert links_of_processes(placed, [copies, between]) == [between]
    assert links_of_processes(replace(placed, hosts=1), [copies]) == [copies]
    assert links_of_processes(MESH, [WITHIN, ACROSS]) == [WITHIN, ACROSS]


def test_what_is_swept_between_processes_of_manual_placement() -> None:
    placed = Case("tensorflow", "tensorflow", "data+intra_layer", "", "gpt", "tiny", "synthetic",
                  "cpu", 4, mesh="data=2,intra_layer=2", hosts=2, global_batch=64)
    assert plans_for_run([placed], [2, 2]) == []  # layers are copied inside a host
    (inside,) = plans_for_run([replace(placed, hosts=1)])
    assert (inside.case.hosts, sorted(inside.sweep.names)) == (1, ["all_reduce", "send_recv"])
    apart = replace(placed, strategy="intra_layer", mesh="")
    (between,) = plans_for_run([apart], [2, 2])
    assert (between.case.hosts, between.sweep.names) == (2, ["send_recv"])
    assert between.case.strategy == "intra_layer" and inside.case.strategy == "data"


def test_a_link_that_was_not_swept_is_named_with_its_hosts() -> None:
    kinds = {"all_reduce@2": [8], "all_reduce@2^2": [8]}
    row = model_columns("pytorch", "torch", 4, kinds, 1.0, [WITHIN])
    assert row == {
        "comm_verdict": "not modelled: no sweep of all_reduce with 2 devices on 2 hosts"}


def test_a_mesh_has_the_link_inside_a_host_and_the_one_between_hosts_swept() -> None:
    plans = plans_for_run([MESH], [2, 2])
    assert [(plan.case.devices, plan.case.hosts) for plan in plans] == [(2, 2), (2, 1)]
    pipeline = replace(MESH, strategy="inter_layer", variant="gpipe", mesh="")
    plans = plans_for_run([pipeline], [2, 2])
    assert [(plan.case.devices, plan.case.hosts) for plan in plans] == [(2, 1), (2, 2)]
    assert len({plan.name for plan in plans}) == 2


def test_the_command_asks_for_copies_alone_between_hosts() -> None:
    """Over hosts TensorFlow's processes are those of manual placement, and reduce nothing."""
    config = LinkConfig(framework=["tensorflow"], collective=["all_reduce", "send_recv"], devices=2)
    (plan,), refused = build_plans(config, 0, [1, 1])
    assert (plan.sweep.names, plan.case.hosts) == (["send_recv"], 2)
    (row,) = refused
    assert (row.collective, row.status, row.hosts) == ("all_reduce", "unsupported", 2)
    (plan,), refused = build_plans(config, 0)
    assert (plan.sweep.names, refused) == (["all_reduce", "send_recv"], [])
