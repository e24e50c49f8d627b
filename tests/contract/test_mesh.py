"""Combined strategies: the mesh, its sizes, and what follows from them."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import pytest

from adapters.horovod.training.common import shared_by
from suite.analysis.comm_model import model_columns
from suite.analysis.communication import payloads
from suite.analysis.link_fit import LinkFit
from suite.config.matrix import build_matrix
from suite.config.resolution import resolve
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.records import CommEvent, RankRecord, StepTrace
from suite.contract.row import Row
from suite.contract.splits.batches import statistics_groups
from suite.contract.splits.mesh import ORDER, Mesh, mesh_of, mesh_text, parts_of
from suite.contract.splits.schedule import micro_batches
from suite.contract.splits.shards import shard_axes
from suite.contract.splits.stages import stage_units, stages_of_weights
from suite.contract.splits.strategies import COMBINED
from suite.contract.splits.volumes import logical_communications
from suite.contract.workloads import find_workload
from suite.measure.links import plans_for_run
from suite.report.matrix import build_grids
from suite.report.names import case_name
from suite.report.reproduce import OWN

ALL_THREE = "data+intra_layer+inter_layer"


def _case(strategy: str, devices: int, variant: str = "", mesh: str = "",
          framework: str = "pytorch", workload: str = "gpt") -> Case:
    engine = "tensorflow" if framework == "tensorflow" else "torch"
    return Case(framework, engine, strategy, variant, workload, "tiny", "real", "cpu", devices,
                mesh=mesh)


def _matrix(**options: Any) -> list[Case]:
    given = {"workload": ["gpt"], "size": "tiny", "framework": ["pytorch"]} | options
    return build_matrix(resolve("quick", None, given), 0)


@pytest.mark.parametrize(
    ("strategy", "devices", "sizes"),
    [
        ("data+intra_layer", 4, {"data": 2, "intra_layer": 2}),
        ("data+intra_layer", 8, {"data": 4, "intra_layer": 2}),
        ("data+inter_layer", 6, {"data": 3, "inter_layer": 2}),
        ("data+intra_layer", 12, {"data": 4, "intra_layer": 3}),
        ("intra_layer+inter_layer", 8, {"inter_layer": 4, "intra_layer": 2}),
        (ALL_THREE, 8, {"data": 2, "intra_layer": 2, "inter_layer": 2}),
        (ALL_THREE, 16, {"data": 4, "intra_layer": 2, "inter_layer": 2}),
        ("data", 3, {"data": 3}),
        ("single", 1, {}),
    ],
)
def test_default_sizes_are_balanced(strategy: str, devices: int, sizes: dict[str, int]) -> None:
    found = mesh_of(strategy, devices)
    assert dict(found.axes) == sizes and found.devices == devices
    assert found.names == tuple(axis for axis in ORDER if axis in sizes)
    text = mesh_text(strategy, found)
    assert mesh_of(strategy, devices, text) == found
    assert bool(text) == (len(sizes) > 1)


def test_shards_are_neighbours_and_stages_far_apart() -> None:
    mesh = mesh_of(ALL_THREE, 8)
    assert mesh.group("intra_layer", 3) == [2, 3]
    assert mesh.group("data", 3) == [1, 3]
    assert mesh.group("inter_layer", 3) == [3, 7]
    assert mesh.name(3) == "device 3 (stage 0, replica 1, shard 1)"
    assert mesh_of("inter_layer", 4).name(3) == "stage 3"
    assert mesh_of("data", 4).name(3) == "device 3"


@pytest.mark.parametrize("sizes", list(product((2, 3, 4), repeat=3)), ids=str)
def test_groups_of_an_axis_are_a_partition(sizes: tuple[int, int, int]) -> None:
    mesh = Mesh(tuple(zip(ORDER, sizes, strict=True)))
    everyone = list(range(mesh.devices))
    for axis, size in mesh.axes:
        groups = mesh.groups(axis)
        assert sorted(rank for group in groups for rank in group) == everyone
        assert {len(group) for group in groups} == {size}
        for group in groups:
            assert [mesh.place(axis, rank) for rank in group] == list(range(size))
            assert all(mesh.group(axis, rank) == group for rank in group)
            others = [name for name in mesh.names if name != axis]
            assert len({tuple(mesh.place(name, r) for name in others) for r in group}) == 1
        assert len({mesh.suffix(axis, group[0]) for group in groups}) == len(groups)
    places = {tuple(mesh.place(axis, rank) for axis in ORDER) for rank in everyone}
    assert len(places) == mesh.devices


def test_a_pure_strategy_is_a_mesh_with_one_axis() -> None:
    mesh = mesh_of("intra_layer", 4)
    assert mesh.groups("intra_layer") == [[0, 1, 2, 3]]
    assert mesh.suffix("intra_layer", 2) == "" and mesh.place("data", 3) == 0
    assert mesh.size("data") == 1 and mesh.group("data", 3) == [3]


@pytest.mark.parametrize(
    ("strategy", "devices", "mesh", "words"),
    [
        ("data+intra_layer", 3, "", "a product of 2 numbers above 1, such as 4"),
        (ALL_THREE, 4, "", "a product of 3 numbers above 1, such as 8"),
        ("data+intra_layer", 4, "data=2,intra_layer=3", "which is 6"),
        ("data+intra_layer", 4, "data=2,inter_layer=2", "the axes of data+intra_layer"),
        ("data+intra_layer", 4, "data=4,intra_layer=1", "each once and 2 or more"),
        ("data+intra_layer", 4, "data=2,data=2", "each once"),
        ("data+intra_layer", 4, "data=2,columns=2", "of data, inter_layer, intra_layer"),
        ("data+intra_layer", 4, "data=two,intra_layer=2", "such as data=2,intra_layer=2"),
        ("data+intra_layer", 4, "2x2", "such as data=2,intra_layer=2"),
    ],
)
def test_bad_meshes_are_refused(strategy: str, devices: int, mesh: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        mesh_of(strategy, devices, mesh)


def test_a_mesh_belongs_to_a_strategy_that_was_asked_for() -> None:
    with pytest.raises(UsageError, match="a combined strategy"):
        _matrix(strategy=["data"], mesh=["data=2,intra_layer=2"], devices=4)
    with pytest.raises(UsageError, match="the axes of data"):
        _matrix(strategy=["data+intra_layer"], mesh=["data=2,inter_layer=2"], devices=4)


def test_the_matrix_has_a_case_for_each_mesh() -> None:
    meshes = ["data=2,intra_layer=4", "data=4,intra_layer=2"]
    cases = _matrix(strategy=["single", "data", "data+intra_layer"], mesh=meshes, devices=8)
    assert [case.mesh for case in cases] == ["", "", *meshes]
    assert [case.case_id for case in cases[2:]] == [
        "pytorch.data+intra_layer.gpt-tiny.cpu2x4", "pytorch.data+intra_layer.gpt-tiny.cpu4x2",
    ]
    assert cases[0].devices == 1


def test_combined_strategies_are_in_no_default_matrix() -> None:
    assert not any("+" in case.strategy for case in _matrix(devices=4))
    found = _matrix(strategy=list(COMBINED), variant=["1f1b"], devices=8, workload=["gpt"],
                    size="tiny", batch=32)
    assert [(case.strategy, case.variant) for case in found] == [
        ("data+intra_layer", ""), *((name, "1f1b") for name in list(COMBINED)[1:]),
    ]
    assert len({case.case_id for case in found}) == len(COMBINED)


def test_records_of_before_have_no_mesh(tmp_path: Path) -> None:
    fields = asdict(_case("data", 2)) | {"schema_version": 2}
    del fields["mesh"]
    (tmp_path / "case.json").write_text(json.dumps(fields))
    found = Case.read(tmp_path / "case.json")
    assert found.mesh == "" and found.case_id == "pytorch.data.gpt-tiny.cpu2"
    combined = _case("data+intra_layer", 8, mesh="data=2,intra_layer=4")
    combined.write(tmp_path / "case.json")
    assert Case.read(tmp_path / "case.json") == combined


@pytest.mark.parametrize(
    ("strategy", "variant", "devices", "groups"),
    [("data+intra_layer", "", 4, 2), ("intra_layer+inter_layer", "gpipe", 4, 4),
     ("data+inter_layer", "gpipe", 4, 8), ("data+inter_layer", "naive", 4, 2),
     (ALL_THREE, "1f1b", 8, 8)],
)
def test_statistics_are_of_a_share_and_a_micro_batch(
    strategy: str, variant: str, devices: int, groups: int
) -> None:
    resnet, gpt = find_workload("resnet", "tiny"), find_workload("gpt", "tiny")
    assert statistics_groups(resnet, strategy, variant, devices) == groups
    assert statistics_groups(gpt, strategy, variant, devices) == 1


@pytest.mark.parametrize("framework", ["pytorch", "horovod", "tensorflow"])
@pytest.mark.parametrize("workload", ["gpt", "resnet", "efficientnet"])
@pytest.mark.parametrize(
    ("strategy", "devices"),
    [("data+intra_layer", 4), ("data+inter_layer", 4), ("intra_layer+inter_layer", 4),
     (ALL_THREE, 8), ("data+intra_layer", 8)],
)
def test_a_mesh_moves_what_its_groups_move(
    strategy: str, devices: int, workload: str, framework: str
) -> None:
    """Device by device instead of by formula: what each sends or takes part in, shared out."""
    case = _case(strategy, devices, "gpipe" if "inter_layer" in strategy else "", "", framework,
                 workload)
    found: dict[str, int] = {}
    for kind, size in logical_communications(case):
        found[kind] = found.get(kind, 0) + size
    placed = framework == "tensorflow"
    assert found == pytest.approx(_moved_placed(case) if placed else _moved(case))


def _moved(case: Case) -> dict[str, float]:
    mesh, spec, axes = case.axes, case.spec, shard_axes(case.spec)
    stages, replicas = mesh.size("inter_layer"), mesh.size("data")
    units, held = stage_units(spec, stages), stages_of_weights(spec, stages)
    moved = {"all_reduce": 0.0, "send_recv": 0.0}
    for rank in range(mesh.devices):
        stage = mesh.place("inter_layer", rank)
        shards, share = mesh.size("intra_layer"), spec.global_batch // replicas
        for branch in spec.branches() if shards > 1 else ():
            if branch.row.split(".")[0] in units[stage]:
                middle = 2 * branch.middle.elements if branch.middle else 0
                once = branch.leaving + branch.entering * branch.input_has_gradient + middle
                moved["all_reduce"] += 4 * share * once / shards
        for name, shape in spec.shapes().items():
            if stage in held[name]:
                size = 4 * prod(shape) / (shards if name in axes else 1)
                moved["all_reduce"] += size / replicas if replicas > 1 else 0
                moved["all_reduce"] += size / 2 if len(held[name]) > 1 else 0
        first = sum(len(group) for group in units[: stage + 1])
        if stage < stages - 1:
            moved["send_recv"] += 2 * 4 * share * prod(spec.boundary(first))
    return {kind: size for kind, size in moved.items() if size}


def _moved_placed(case: Case) -> dict[str, float]:
    """One graph: a tower has one copy of each parameter, and shards hear from the first."""
    mesh, spec = case.axes, case.spec
    stages, replicas = mesh.size("inter_layer"), mesh.size("data")
    reduced = sum(4 * prod(shape) for shape in spec.shapes().values()) if replicas > 1 else 0
    hops = 0.0
    for branch in spec.branches():
        middle = 4 * branch.middle.elements if branch.middle else 0
        once = 2 * branch.leaving + branch.entering * (1 + branch.input_has_gradient) + middle
        hops += 4 * spec.global_batch * once * (mesh.size("intra_layer") - 1)
    first = 0
    for group in stage_units(spec, stages)[:-1]:
        first += len(group)
        hops += 2 * 4 * spec.global_batch * prod(spec.boundary(first))
    tied = [name for name, held in stages_of_weights(spec, stages).items() if len(held) > 1]
    hops += sum(2 * 4 * prod(spec.shapes()[name]) for name in tied) * replicas
    moved = {"all_reduce": float(reduced), "send_recv": hops}
    return {kind: size for kind, size in moved.items() if size}


def test_process_sets_are_made_once_each() -> None:
    case = _case(ALL_THREE, 8, "gpipe")
    found = shared_by(case)
    assert len(found) == len(set(found)) == 12  # four groups of two on each axis
    assert {ranks for ranks in found if ranks[1] - ranks[0] == 4} == {
        (rank, rank + 4) for rank in range(4)
    }
    # Four stages: three pairs and the two ends, which hold the tied table.
    assert shared_by(_case("inter_layer", 4, "gpipe")) == [(0, 1), (1, 2), (2, 3), (0, 3)]


def test_links_are_swept_with_the_devices_of_an_axis() -> None:
    plans = plans_for_run([
        _case("data+intra_layer", 8), _case("data", 8), _case("inter_layer", 4, "gpipe"),
    ])
    assert {plan.case.devices: set(plan.sweep.names) for plan in plans} == {
        4: {"all_reduce"}, 2: {"all_reduce", "send_recv"}, 8: {"all_reduce"},
    }


def test_t_comm_is_modelled_with_the_participants_of_each_group() -> None:
    events = [
        # Devices 0 and 1 reduce, so do 2 and 3, and 0 sends to 2.
        [_event("a@0"), _event("hop", "send", "send_recv")], [_event("a@0")],
        [_event("a@2"), _event("hop", "recv", "send_recv")], [_event("a@2")],
    ]
    records = [RankRecord(rank, traces=[StepTrace(one)]) for rank, one in enumerate(events)]
    found = payloads(records)
    assert found == {"all_reduce@2": [1000, 1000], "send_recv": [1000]}
    fits = [_fit("all_reduce", 2, 1e-6), _fit("all_reduce", 4, 9.0), _fit("send_recv", 2, 4e-6)]
    row = model_columns("pytorch", "torch", 4, found, None, fits)
    # Each all-reduce is in flight on half of the devices, the hop on a quarter.
    assert row["t_comm_model_s"] == pytest.approx((2 * 1e-3 * 2 / 4) + 4e-3 / 4)
    row = model_columns("pytorch", "torch", 4, found, None, fits[1:])
    assert row == {"comm_verdict": "not modelled: no sweep of all_reduce with 2 devices"}


def _event(key: str, role: str = "member", kind: str = "all_reduce") -> CommEvent:
    return CommEvent(kind, 1000, 0.0, 1.0, key=key, role=role)


def _fit(collective: str, devices: int, alpha: float) -> LinkFit:
    return LinkFit(
        "pytorch", "torch", collective, "gloo", "tcp:lo", devices, alpha_s_per_byte=alpha,
        latency_s=0.0, bytes_min=4, bytes_max=1 << 20,
    )


def test_a_mesh_has_a_column_of_its_own_and_a_command() -> None:
    rows = [
        Row(framework="pytorch", engine="torch", strategy=strategy, variant=variant, mesh=mesh,
            devices=count, status="failed", workload="gpt", size="tiny", data="real", device="cpu",
            mode="eager", dtype="float32", global_batch=8, case_id=f"{strategy}{mesh}",
            parity="skipped")
        for strategy, variant, mesh, count in (
            ("single", "", "", 1), ("data+inter_layer", "gpipe", "data=4,inter_layer=2", 8),
            ("data+intra_layer", "", "data=2,intra_layer=4", 8),
            ("data+intra_layer", "", "data=4,intra_layer=2", 8), ("data", "", "", 8),
        )
    ]
    (grid,) = build_grids(rows)
    assert grid.strategies == [
        "single", "data", "data+intra_layer 2x4", "data+intra_layer 4x2",
        "data+inter_layer 4x2 gpipe",
    ]
    assert case_name(rows[2]) == "pytorch data+intra_layer 2x4"
    assert "mesh" in OWN  # the page's command for a row


def test_parts_are_micro_batches_of_a_replicas_stages() -> None:
    assert micro_batches("gpipe", mesh_of(ALL_THREE, 8).size("inter_layer")) == 4
    assert parts_of(ALL_THREE) == ("data", "intra_layer", "inter_layer")
