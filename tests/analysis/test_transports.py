"""The columns that say how tensors travelled, from planted records; and --transport's cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite.analysis.transports import transport_columns
from suite.config.matrix import build_matrix
from suite.config.resolution import resolve
from suite.contract import rdma
from suite.contract.case import Case
from suite.contract.records import RankRecord
from suite.measure.availability import unsupported_reason
from suite.report.axes import column
from suite.report.matrix import build_grids
from tests.planted_rdma import plant_port
from tests.synthetic import COMMON, DATA, SINGLE, Planted, start_run


def _records(received: list[dict[str, int]], backend: str, *said: str) -> list[RankRecord]:
    return [RankRecord(rank, transports=list(said), received_bytes=one, ledger={"backend": backend})
            for rank, one in enumerate(received)]


def test_the_library_says_and_the_counters_agree() -> None:
    said = ("NET/IB/GDRDMA", "P2P/CUMEM", "path NVL", "port mlx5_0:1/RoCE")
    launches = [_records([{"eth0": 400, "mlx5_0/1": 40_000}, {"eth0": 440}], "nccl", *said),
                _records([{"eth0": 200, "mlx5_0/1": 44_000}, {}], "nccl", *said)]
    assert transport_columns(launches, 10) == {
        "transport_used": "RoCE with GPUDirect, NVLink",
        "transport_words": "NET/IB/GDRDMA, P2P/CUMEM, path NVL, port mlx5_0:1/RoCE",
        "network_bytes": "eth0 32 B, mlx5_0/1 4.2 kB", "ip_bytes": 32.0, "rdma_bytes": 4200.0,
    }


@pytest.mark.parametrize(("backend", "named"), [
    ("gloo", "TCP"), ("gRPC ring", "TCP"), ("gRPC", "TCP"),
    ("in-process", "memory of one process"),
    ("nccl", ""), ("something", ""),
])
def test_backends_that_have_one_transport(backend: str, named: str) -> None:
    found = transport_columns([_records([{}, {}], backend)], 10)
    assert found["transport_used"] == named
    assert (found["ip_bytes"], found["rdma_bytes"], found["network_bytes"]) == (None, None, "")


class Heard(Planted):
    """Ranks whose host received 2,000 bytes in each step."""

    def _record(self, case: Case, *rest: object) -> dict[str, object]:
        record = super()._record(case, *rest)  # type: ignore[arg-type]
        record["ledger"] = {**record["ledger"], "backend": "gloo"}
        return record | {"received_bytes": {"lo": 2000 * case.steps}}


def test_the_columns_of_a_run(tmp_path: Path) -> None:
    tcp = replace(DATA, transport="tcp")
    runner = start_run(tmp_path / "run", Heard({}, 0), [SINGLE, DATA, tcp], repeats=1)
    runner.execute()
    single, data, asked = runner.finish("complete")
    assert (single.transport_used, single.ip_bytes) == ("", None)  # sends nothing
    assert (data.transport, data.transport_used, data.ip_bytes) == ("", "TCP", 2000.0)
    assert (asked.case_id, asked.transport) == ("pytorch.data.mlp-tiny.cpu2.tcp", "tcp")
    assert column(asked) == "data tcp" and column(data) == "data"


def test_both_are_planned_beside_one_base() -> None:
    options = {"framework": ["pytorch"], "strategy": ["single", "data"], "size": "tiny",
               "transport": ["tcp", "rdma"]}
    cases = build_matrix(resolve("smoke", None, options), 0)
    assert [case.case_id.partition("mlp-tiny.")[2] for case in cases] == [
        "cpu1", "cpu2.tcp", "cpu2.rdma"]


def _gpus(framework: str, transport: str, hosts: int = 2) -> Case:
    engine = {"tensorflow": "tensorflow"}.get(framework, "torch")
    return Case(framework, engine, "data", "", *COMMON[:3], "cuda", 2, transport=transport,
                hosts=hosts)


@pytest.mark.parametrize(("case", "reason"), [
    (replace(DATA, transport="tcp"), ""),
    (replace(DATA, transport="rdma"), "pytorch connects cpu devices by tcp, not by rdma"),
    (Case("tensorflow", "tensorflow", "data", "", *COMMON, 2, transport="tcp"),
     "one process drives all devices: tcp would carry nothing"),
    (_gpus("pytorch", "tcp", hosts=1),
     "GPUs of one host are connected by NVLink, PCIe or shared memory, and no network"),
    (_gpus("pytorch", "rdma"), "this host has no active RDMA port"),
    (_gpus("pytorch", "tcp"), ""),
])
def test_what_a_network_is_refused_for(
    case: Case, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rdma, "ports", lambda: [])
    # Another interpreter is not asked whether it has GPUs.
    found = unsupported_reason(case, {case.framework: "python"})
    assert found.startswith(reason) and bool(found) == bool(reason)


def test_rdma_with_an_active_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_port(tmp_path)
    found = rdma.ports(tmp_path)
    monkeypatch.setattr(rdma, "ports", lambda: found)
    assert unsupported_reason(_gpus("pytorch", "rdma"), {"pytorch": "python"}) == ""


def test_the_report_compares_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.measure.admission.unsupported_reason", lambda *_asked: "")
    both = [replace(DATA, transport=name) for name in ("tcp", "rdma")]
    seconds = {both[0].case_id: 0.008, both[1].case_id: 0.006, SINGLE.case_id: 0.012}
    runner = start_run(tmp_path / "run", Planted(seconds, 0), [SINGLE, *both])
    runner.execute()
    (grid,) = build_grids(runner.finish("complete"))
    assert grid.strategies == ["single", "data tcp", "data rdma"]
    assert grid.verdict.startswith("pytorch data rdma is fastest")
    assert "Next: pytorch data tcp takes 1.3" in grid.verdict
