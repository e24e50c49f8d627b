"""A worker's environment is built: another job's variables do not reach it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from suite.contract.case import Case
from suite.contract.registry import traits_of
from suite.launch.environment import dropped_variables, worker_environment
from tests.conftest import Launch

FOREIGN = {
    "TF_CONFIG": "{malformed", "http_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://x:1",
    "TORCH_DISTRIBUTED_DEBUG": "DETAIL", "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "64",
    "XLA_FLAGS": "--nonsense", "RANK": "7", "HOROVOD_CYCLE_TIME": "99", "PYTHONSTARTUP": "/x",
}


def test_foreign_variables_reach_no_worker(tmp_path: Path) -> None:
    outer = FOREIGN | {"PATH": "/bin", "HOME": "/root", "NCCL_SOCKET_IFNAME": "eth0",
                       "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    for framework in ("pytorch", "tensorflow", "horovod"):
        inner = worker_environment(traits_of(framework), tmp_path, outer)
        assert inner.keys() & FOREIGN.keys() <= {"OMP_NUM_THREADS"}
        assert inner["OMP_NUM_THREADS"] == "1" and inner["PATH"] == "/bin"
        assert inner["NCCL_SOCKET_IFNAME"] == "eth0" and inner["TMPDIR"] == str(tmp_path)
        # The numbers of GPUs mean in a rank what they mean in the harness, who asks NVML.
        assert inner["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_what_was_dropped_is_told_by_name() -> None:
    outer = FOREIGN | {"PATH": "/bin", "EDITOR": "vi", "NCCL_DEBUG": "INFO", "PYTHONPATH": "/x"}
    assert dropped_variables([traits_of("pytorch")], outer) == sorted(FOREIGN)


def test_the_place_that_torchrun_gave_the_harness_is_no_setting_of_the_user_s() -> None:
    outer = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "node1", "TORCHELASTIC_RUN_ID": "x",
             "OMP_NUM_THREADS": "4"}
    assert dropped_variables([traits_of("pytorch")], outer, placed=True) == ["OMP_NUM_THREADS"]
    assert len(dropped_variables([traits_of("pytorch")], outer)) == len(outer)


def test_what_computes_otherwise_is_dropped_and_told() -> None:
    outer = {"NVIDIA_TF32_OVERRIDE": "1", "CUBLAS_WORKSPACE_CONFIG": ":16:8", "MALLOC_CHECK_": "3",
             "NVIDIA_VISIBLE_DEVICES": "all", "TF_VAR_region": "x", "TF_CLI_CONFIG_FILE": "y"}
    told = ["CUBLAS_WORKSPACE_CONFIG", "MALLOC_CHECK_", "NVIDIA_TF32_OVERRIDE"]
    assert dropped_variables([traits_of("pytorch")], outer) == told
    inner = worker_environment(traits_of("pytorch"), Path("/t"), outer)
    assert not inner.keys() & set(told) and inner["NVIDIA_VISIBLE_DEVICES"] == "all"


def test_the_current_folder_hides_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inner = worker_environment(traits_of("pytorch"), tmp_path, {"PYTHONPATH": "/mine"})
    assert str(tmp_path) not in inner["PYTHONPATH"].split(":") and "/mine" in inner["PYTHONPATH"]
    assert inner["SUITE_WORKING_FOLDER"] == str(tmp_path)


def test_a_proxy_that_is_passed_on_is_not_asked_for_the_job_itself(tmp_path: Path) -> None:
    outer = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "intern", "SUITE_PASS_ENV": "*_proxy"}
    inner = worker_environment(traits_of("tensorflow"), tmp_path, outer)
    hosts = ["intern", "localhost", "127.0.0.1", "::1", socket.gethostname()]
    assert inner["http_proxy"] and inner["no_proxy"].split(",") == hosts
    assert inner["NO_PROXY"] == inner["no_grpc_proxy"] == inner["no_proxy"]
    peers = ["node1", "10.0.0.1", "node2", "10.0.0.2"]
    across = worker_environment(traits_of("tensorflow"), tmp_path, outer, peers)
    assert across["no_proxy"].split(",") == hosts + peers
    assert across["NO_PROXY"] == across["no_grpc_proxy"] == across["no_proxy"]
    quiet = worker_environment(traits_of("tensorflow"), tmp_path, {"PATH": "/"}, peers)
    assert "no_proxy" not in quiet


def test_a_user_passes_variables_on_by_name(tmp_path: Path) -> None:
    outer = FOREIGN | {"SUITE_PASS_ENV": "XLA_FLAGS, HOROVOD_*"}
    inner = worker_environment(traits_of("horovod"), tmp_path, outer)
    assert inner["XLA_FLAGS"] == "--nonsense" and inner["HOROVOD_CYCLE_TIME"] == "99"
    assert "TF_CONFIG" not in inner
    assert "XLA_FLAGS" not in dropped_variables([traits_of("horovod")], outer)


def test_a_worker_finds_what_was_built(
    fake: Case, start: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_FAULT", "environment")
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    outcome, folder = start(fake)
    assert outcome.status == "ok", outcome.reason
    seen = json.loads((folder / "environment-0.json").read_text())
    # The manifest sets this one itself.
    assert seen.keys() & FOREIGN.keys() == {"OMP_NUM_THREADS"} and seen["OMP_NUM_THREADS"] == "1"
    # A launch has a folder for temporary files of its own, which goes with it.
    assert Path(seen["TMPDIR"]).name.startswith("suite-") and not Path(seen["TMPDIR"]).exists()
