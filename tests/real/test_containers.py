"""The images and the templates of ``examples/clusters/``, with containers as hosts.

``make container-hosts`` builds the images and runs these tests.
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import cluster, end_all, why_no_cluster
from tests.containers import (
    SUITE,
    WITH_MPI,
    Container,
    buildah,
    container,
    environment,
    names_file,
    why_no_containers,
)

UNAVAILABLE = why_no_containers() or why_no_cluster()
pytestmark = [
    pytest.mark.long, pytest.mark.timeout(600),
    pytest.mark.skipif(bool(UNAVAILABLE), reason=UNAVAILABLE),
]
EXAMPLES = Path(__file__).parents[2] / "examples/clusters"
PODS = ("split-suite-launcher", "split-suite-worker-0")
# As the operator names pods: with the job's service and its namespace.
FULL = tuple(f"{pod}.split-suite.default.svc" for pod in PODS)
SHORT = ("--preset", "smoke", "--strategy", "single,data", "--no-link")
# What the operator adds to the launcher's variables (mpi-operator, newLauncherPodTemplate).
OPERATOR = {
    "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
    "OMPI_MCA_orte_default_hostfile": "/etc/mpi/hostfile",
    "OMPI_MCA_plm_rsh_args": "-o ConnectionAttempts=10",
    "OMPI_MCA_orte_set_default_slots": "1",
}


def _read(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    return read


def _rows(out: Path) -> dict[str, dict[str, str]]:
    (table,) = out.glob("*/results.csv")
    with table.open(encoding="utf-8") as file:
        return {row["case_id"]: row for row in csv.DictReader(file)}


def _across(out: Path, topology: str) -> set[str]:
    """The cases over both hosts that can run; each is proven, and over TCP."""
    rows = {name: row for name, row in _rows(out).items()
            if row["hosts"] == "2" and row["status"] != "unsupported"}
    for name, row in rows.items():
        assert (row["status"], row["parity"]) == ("ok", "ok"), f"{name}: {row['reason']}"
        assert row["topology"] == topology and row["transport_used"] == "TCP", row
    return {name.partition(".mlp")[0] for name in rows}


def _open(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def _secret(folder: Path) -> Path:
    """The job's key as the operator mounts it: files of root that everybody may read."""
    folder.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "521", "-N", "", "-f",
                    str(folder / "id_rsa")], check=True)
    (folder / "authorized_keys").write_bytes((folder / "id_rsa.pub").read_bytes())
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


@contextmanager
def _mpijob(folder: Path, job: dict[str, Any]) -> Iterator[list[Container]]:
    """Launcher and worker as the operator makes them from the manifest."""
    (folder / "mpi").mkdir()
    (folder / "mpi/hostfile").write_text(
        "".join(f"{name} slots={job['slotsPerWorker']}\n" for name in FULL), encoding="utf-8")
    mounted = {
        "/etc/hosts": names_file(folder / "hosts", list(zip(FULL, PODS, strict=True))),
        job["sshAuthMountPath"]: _secret(folder / "secret"),
    }
    claims: tuple[dict[str, Path], ...] = (
        {"/etc/mpi": folder / "mpi", "/results": _open(folder / "claim")}, {})
    with ExitStack() as stack:
        yield [stack.enter_context(container(WITH_MPI, pod, mounted | claim))
               for pod, claim in zip(PODS, claims, strict=True)]


@pytest.mark.parametrize(("launcher", "frameworks", "trained"), [
    ("mpirun", "pytorch,horovod",
     {"pytorch.data", "horovod-torch.data", "horovod-tensorflow.data"}),
    ("horovodrun", "horovod", {"horovod-torch.data", "horovod-tensorflow.data"}),
])
def test_an_mpijob_s_pods_are_the_hosts_of_one_run(
    launcher: str, frameworks: str, trained: set[str], tmp_path: Path
) -> None:
    """The launcher's engine reaches the worker's container by ssh, with the job's key."""
    job = _read("mpijob.yaml")["spec"]
    launching, working = (
        job["mpiReplicaSpecs"][role]["template"]["spec"]["containers"][0]
        for role in ("Launcher", "Worker"))
    assert job["runLauncherAsWorker"] and job["mpiReplicaSpecs"]["Worker"]["replicas"] == 1
    user = str(working["securityContext"]["runAsUser"])
    replaced = {"mpirun": launcher, "pytorch,horovod": frameworks}
    words = [replaced.get(word, word) for word in launching["command"] + launching["args"]]
    with cluster(400, tmp_path) as hosts, _mpijob(tmp_path, job) as (first, second):
        roots = {buildah("mount", one.name) for one in (first, second)}
        assert len(roots) == 2
        worker = second.on(hosts, 1, working["command"] + working["args"], user)
        run = first.on(hosts, 0, [*words, *SHORT], user, OPERATOR)
        try:
            said, _ = run.communicate(timeout=280)
        finally:
            end_all(hosts)
        assert run.returncode == 0, said + str(worker.communicate(timeout=10)[0])
    print(said)
    assert _across(tmp_path / "claim", f"{PODS[0]}: 1, {PODS[1]}: 1") == trained, said


def test_the_compose_file_s_containers_are_the_hosts_of_one_run(tmp_path: Path) -> None:
    """All three frameworks; the results belong to a caller whose number the image does not know."""
    services = _read("compose.yaml")["services"]
    names = names_file(tmp_path / "hosts", [[name] for name in services])
    out = _open(tmp_path / "out")
    caller = "4321:4321"
    with cluster(400, tmp_path) as hosts, ExitStack() as stack:
        started = []
        for number, (name, service) in enumerate(services.items()):
            mounted = {"/etc/hosts": names}
            if number == 0:  # the other host has no results
                mounted["/results"] = out
            made = stack.enter_context(container(SUITE, name, mounted))
            words = ["python", "-m", "suite", *service["command"], *SHORT[2:], "--variant",
                     "default,multi_worker"]
            variables = {**service["environment"], "SUITE_JOIN_KEY": "shared"}
            started.append(made.on(hosts, number, words, caller, variables))
        said = [one.communicate(timeout=280)[0] for one in started]
    assert [one.returncode for one in started] == [0, 0], said
    print(said[0])
    assert _across(out, "host-a: 1, host-b: 1") == {
        "pytorch.data", "horovod-torch.data", "horovod-tensorflow.data",
        "tensorflow.data-multi_worker"}, said
    assert {path.stat().st_uid for path in out.rglob("*")} == {4321}


def test_the_apptainer_recipe_s_scripts_work_in_the_image(tmp_path: Path) -> None:
    """Apptainer writes each section into a script of the image, and runs it as the caller."""
    sections = _sections((EXAMPLES / "apptainer.def").read_text(encoding="utf-8"))
    names = names_file(tmp_path / "hosts", [])
    with container(SUITE, "localhost", {"/etc/hosts": names}) as image:
        def run(section: str, *arguments: str) -> str:
            script = sections["environment"] + sections[section]
            line = image.command(["sh", "-c", script, "sh", *arguments], "4321:4321")
            done = subprocess.run(line, env=environment(), capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        assert "horovod" in run("test")
        assert "usage" in run("runscript", "run", "--help").lower()


def _sections(recipe: str) -> dict[str, str]:
    """The body of each section of a definition file; a section begins with a line ``%name``."""
    found: dict[str, str] = {}
    name = ""
    for line in recipe.splitlines():
        if line.startswith("%"):
            name = line[1:].strip()
            found[name] = ""
        elif name:
            found[name] += line.strip() + "\n"
    return found
