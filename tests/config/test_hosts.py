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
from suite.launch.across import on_ray
from suite.launch.across.allocation import hosts_of
from suite.launch.across.engines import ENGINES
from suite.launch.across.follower import place_given


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


def _ray_that_says(folder: Path, lines: str) -> None:
    """A program ``ray``, and beside it an interpreter that says this to whoever asks for nodes."""
    for name, text in (("ray", "#!/bin/sh\n"), ("python", f"#!/bin/sh\n{lines}\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def test_ray_s_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray may have an environment of its own, and talks before it answers."""
    monkeypatch.setattr("suite.launch.across.engines.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="the package ray in this environment"):
        hosts_of("ray", [], 4)
    _ray_that_says(tmp_path, """echo Connecting; echo '["10.0.0.1", "10.0.0.2"]'""")
    assert hosts_of("ray", [], 4) == (Host("10.0.0.1", 4), Host("10.0.0.2", 4))
    assert hosts_of("ray", ["a:1"], 4) == (Host("a", 1),)
    python, _, *rest = ENGINES["ray"].command((Host("a", 1), Host("b", 2)), ["follower"])
    assert python == str(tmp_path / "python") and rest == ["start", "a:1,b:2", "follower"]
    _ray_that_says(tmp_path, "echo ConnectionError: nobody there >&2; exit 1")
    with pytest.raises(UsageError, match=r"ray start --head .*ConnectionError: nobody there"):
        hosts_of("ray", [], 4)


def test_what_ray_reserves_on_a_node() -> None:
    nodes = [{"NodeManagerHostname": "a", "NodeManagerAddress": "10.0.0.1", "NodeName": "10.0.0.1",
              "Resources": {"CPU": 8.0, "GPU": 2.0, "node:10.0.0.1": 1.0}}]
    for host in ("a:4", "10.0.0.1:4"):
        assert on_ray._bundle(*on_ray._found(nodes, host)) == {
            "CPU": 4, "GPU": 2, "node:10.0.0.1": on_ray.HERE}
    with pytest.raises(ValueError, match="no node c, only 10.0.0.1"):
        on_ray._found(nodes, "c:1")


def test_ray_s_number_of_a_host_counts_before_slurm_s() -> None:
    """Ray's nodes may have been started in a Slurm job, whose variables they keep."""
    assert place_given({"SLURM_PROCID": "0", on_ray.PLACE: "1"}) == 1
    assert place_given({"SLURM_PROCID": "3"}) == 3


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
