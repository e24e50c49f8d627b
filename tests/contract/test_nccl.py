"""What NCCL says of its connections, line by line as its source writes them, and what it is told.

No log was recorded here, as there are no two GPUs: the lines are written after the forms in
src/transport/{p2p,shm,net,coll_net}.cc, net_ib and graph/search.cc of NCCL.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite.contract.asked import NotAsAsked, check_found, network_found
from suite.contract.case import Case
from suite.contract.manifests import manifest
from suite.contract.nccl import heard, network, transports, variables, words
from tests.planted_rdma import GRAPH, INFINIBAND, ROCE, SOCKET, line

CASE = Case("pytorch", "torch", "data", "", "mlp", "tiny", "synthetic", "cuda", 2)
SEND, RECEIVE = " [send]", " [receive]"


@pytest.mark.parametrize(("log", "kinds", "named", "between"), [
    (GRAPH.format("NVL") + line("P2P/CUMEM/read"), ["P2P/CUMEM", "path NVL"], ["NVLink"], ""),
    (GRAPH.format("NVL") + GRAPH.format("NVB") + line("P2P/IPC/CE"),
     ["P2P/IPC", "path NVB", "path NVL"], ["NVLink"], ""),
    (GRAPH.format("PHB") + line("P2P/IPC"), ["P2P/IPC", "path PHB"], ["PCIe peer to peer"], ""),
    (GRAPH.format("NVL") + GRAPH.format("SYS") + line("P2P/direct pointer/read"),
     ["P2P/direct", "path NVL", "path SYS"], ["PCIe peer to peer"], ""),
    (GRAPH.format("C2C") + line("P2P/CUMEM"), ["P2P/CUMEM", "path C2C"], ["C2C"], ""),
    (line("P2P/indirect/3[3]"), ["P2P/indirect"], ["peer to peer"], ""),
    (line("P2P/MNNVL"), ["P2P/MNNVL"], ["NVLink between hosts"], ""),
    (line("SHM/direct"), ["SHM/direct"], ["shared memory"], ""),
    (line("SHM/direct/direct"), ["SHM/direct"], ["shared memory"], ""),
    (SOCKET + line("NET/Socket/0", SEND), ["NET/Socket"], ["TCP"], "tcp"),
    (SOCKET + line("NET/Socket/0/Shared", RECEIVE), ["NET/Socket"], ["TCP"], "tcp"),
    (INFINIBAND + line("NET/IB/0", SEND),
     ["NET/IB", "port mlx5_0:1/IB", "port mlx5_1:1/IB"], ["InfiniBand"], "rdma"),
    (ROCE + line("NET/IB/0(3)/GDRDMA(PCI)/Shared", SEND) + line("NET/IB/1/GDRDMA", RECEIVE),
     ["NET/IB/GDRDMA", "port mlx5_0:1/RoCE"], ["RoCE with GPUDirect"], "rdma"),
    (line("NET/AWS Libfabric/0/GDRDMA", SEND), ["NET/AWS Libfabric/GDRDMA"],
     ["AWS Libfabric with GPUDirect"], ""),
    (line("COLLNET/SHARP/0/GDRDMA", SEND), ["COLLNET/SHARP/GDRDMA"],
     ["SHARP (reduced in the network)"], ""),
    ("node1:1:1 [0] NCCL INFO Bootstrap : Using eth0:10.0.0.1<0>\nNCCL version 2.28\n", [], [], ""),
])
def test_each_form(log: str, kinds: list[str], named: list[str], between: str) -> None:
    said = words(log)
    assert said == kinds
    assert transports(said) == named
    assert network(said) == between


def test_several_in_one_launch() -> None:
    log = GRAPH.format("NVL") + ROCE + line("P2P/CUMEM") + line("SHM/direct") * 3
    said = words(log + line("NET/IB/0/GDRDMA", SEND) + line("NET/IB/0", RECEIVE))
    assert transports(said) == ["RoCE", "RoCE with GPUDirect", "NVLink", "shared memory"]
    assert network([*said, "NET/Socket"]) == ""


def test_a_process_reads_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "nccl.node1.4711.log").write_text(line("SHM/direct"))
    (tmp_path / "nccl.node1.4712.log").write_text(line("NET/Socket/0", SEND))
    assert heard(tmp_path, 4711) == ["SHM/direct"] and heard(tmp_path, 1) == []


def test_what_a_launch_tells_nccl(tmp_path: Path) -> None:
    told = variables(CASE, tmp_path, {})
    assert told == {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,GRAPH",
                    "NCCL_DEBUG_FILE": f"{tmp_path}/nccl.%h.%p.log"}
    assert variables(replace(CASE, devices=1), tmp_path, {}) == {}
    assert variables(replace(CASE, device="cpu"), tmp_path, {}) == {}
    tcp = variables(replace(CASE, transport="tcp"), tmp_path, {"NCCL_DEBUG": "TRACE"})
    assert tcp == {"NCCL_NET": "Socket", "NCCL_IB_DISABLE": "1"}
    assert variables(replace(CASE, transport="rdma"), tmp_path, {})["NCCL_NET"] == "IB"


@pytest.mark.parametrize(("framework", "engine", "variant"), [
    ("pytorch", "torch", ""), ("horovod", "torch", ""), ("horovod", "tensorflow", ""),
    ("tensorflow", "tensorflow", ""), ("tensorflow", "tensorflow", "multi_worker"),
])
def test_every_adapter_passes_it_on(
    framework: str, engine: str, variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NCCL_DEBUG", raising=False)
    case = replace(CASE, framework=framework, engine=engine, variant=variant)
    plan = manifest(framework).launch_plan(case, tmp_path, "python")
    assert all(one["NCCL_DEBUG_FILE"] == f"{tmp_path}/nccl.%h.%p.log" for one in plan.environment)


def test_another_network_than_asked_for_fails_the_rank() -> None:
    case = replace(CASE, transport="rdma")
    ledger = {"dtype": "float32"}
    check_found(case, ledger | network_found(words(line("NET/IB/0", SEND))))
    check_found(case, ledger | network_found([]))
    with pytest.raises(NotAsAsked, match=r"network asked rdma, found tcp.*NCCL_NET_PLUGIN=x"):
        check_found(case, ledger | network_found(words(line("NET/Socket/0", SEND))),
                    {"NCCL_NET_PLUGIN": "x"})
