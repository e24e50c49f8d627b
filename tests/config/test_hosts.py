"""Hosts as users name them, and as a scheduler gives them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from suite.config.hosts import parse_hosts
from suite.config.matrix import build_matrix
from suite.config.resolution import resolve
from suite.contract.errors import UsageError
from suite.contract.hosts import Host
from suite.launch.across.allocation import hosts_of


@pytest.mark.parametrize("text", [
    "node1 slots=4\nnode2 slots=2\n", "node1:4\n\n# a comment\nnode2:2 # another\n",
    "node1  slots = 4  max_slots=8\nnode2 slots=2",
])
def test_host_files_of_open_mpi_and_horovod(text: str, tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(text)
    assert parse_hosts([str(path)], 1) == (Host("node1", 4), Host("node2", 2))


def test_a_list_of_hosts() -> None:
    assert parse_hosts(["node1:4", "node2"], 8) == (Host("node1", 4), Host("node2", 8))


@pytest.mark.parametrize("given", [["node1:0"], ["node1:x"], ["a b"], ["a", "a"], [""]])
def test_what_is_no_host_is_refused(given: list[str]) -> None:
    with pytest.raises(UsageError, match="--hosts"):
        parse_hosts(given, 1)


def test_an_empty_host_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("# nobody\n")
    with pytest.raises(UsageError, match="one host or more"):
        parse_hosts([str(tmp_path / "hosts")], 1)


def test_hosts_need_an_engine_and_engines_need_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hosts_of("local", [], 2) == ()
    with pytest.raises(UsageError, match="add --launcher"):
        hosts_of("local", ["a"], 2)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="mpirun in PATH"):
        hosts_of("mpirun", ["a"], 2)
    with pytest.raises(UsageError, match="RANK, WORLD_SIZE and MASTER_ADDR"):
        hosts_of("torchrun", [], 2, {"SUITE_JOIN_KEY": "shared"})
    with pytest.raises(UsageError, match="the key that all hosts of the run share"):
        hosts_of("torchrun", ["a", "b"], 2, {})


def test_slurm_s_allocation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, line in (("srun", "true"), ("scontrol", "printf 'n1\\nn2\\n'")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert hosts_of("slurm", [], 4, {"SLURM_JOB_NODELIST": "n[1-2]"}) == (Host("n1", 4),
                                                                            Host("n2", 4))
    with pytest.raises(UsageError, match="a Slurm job around the command"):
        hosts_of("slurm", [], 4, {})


def test_cases_know_how_many_hosts_they_need() -> None:
    asked = {"devices": [2, 4], "strategy": ["single", "data"], "framework": ["pytorch"]}
    cases = build_matrix(resolve("smoke", None, asked), 0, [2, 2])
    assert [(case.devices, case.hosts) for case in cases] == [(1, 1), (2, 1), (4, 2)]
    assert cases[-1].case_id.endswith(".cpu4.hosts2")
    with pytest.raises(UsageError, match="at most 3, the slots of --hosts"):
        build_matrix(resolve("smoke", None, asked), 0, [2, 1])
    # GPUs are counted a host: four on two hosts of two.
    assert build_matrix(resolve("smoke", None, asked), 2, [2, 2])[-1].device == "cuda"
    assert build_matrix(resolve("smoke", None, asked), 2)[-1].device == "cpu"


def test_the_largest_batch_is_searched_on_one_host() -> None:
    with pytest.raises(UsageError, match="it searches on one host"):
        resolve("smoke", None, {"find_max_batch": True, "launcher": "mpirun"})
