"""The templates of ``examples/clusters/`` against the schemas and programs that will read them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from suite.cli.run import resume_matrix
from suite.config.resolution import resolve
from suite.contract.errors import UsageError
from suite.launch.across.engines import PORT, Started

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples/clusters"


def _example(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))
    return read


def _problems(schema: str, document: object) -> list[str]:
    text = (ROOT / "tests/schemas" / schema).read_text(encoding="utf-8")
    known = json.loads(text, object_hook=_as_kubernetes_means_it)
    return [error.message for error in Draft7Validator(known).iter_errors(document)]


def _as_kubernetes_means_it(schema: dict[str, Any]) -> dict[str, Any]:
    """Unknown fields are dropped by Kubernetes in silence; here they are errors."""
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    if schema.get("type") == "object" and "properties" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def test_the_compose_file_follows_the_published_schema() -> None:
    compose = _example("compose.yaml")
    assert not _problems("compose-spec.json", compose)
    compose["services"]["host-a"]["shm"] = "1gb"
    assert _problems("compose-spec.json", compose)


@pytest.mark.parametrize(("schema", "name", "pods"), [
    ("job.json", "preemptible-job.yaml", 1), ("pytorchjob.json", "pytorchjob.yaml", 2),
    ("mpijob.json", "mpijob.yaml", 2),
])
def test_manifests_follow_the_published_schemas(schema: str, name: str, pods: int) -> None:
    spec = _example(name)["spec"]
    assert not _problems(schema, spec)
    found = list(_pods(spec))
    assert len(found) == pods
    for pod in found:
        kept = pod["containers"]
        pod["terminationGracePeriodSecond"] = 120
        assert "terminationGracePeriodSecond" in str(_problems(schema, spec))
        del pod["terminationGracePeriodSecond"], pod["containers"]
        assert _problems(schema, spec)
        pod["containers"] = kept


def test_an_mpijob_s_launcher_is_one_of_the_run_s_hosts() -> None:
    """The suite asks the host of its command for devices, and its bases run there."""
    spec = _example("mpijob.yaml")["spec"]
    roles = spec["mpiReplicaSpecs"]
    launching, working = (next(_pods(roles[role]))["containers"][0]
                          for role in ("Launcher", "Worker"))
    assert spec["runLauncherAsWorker"] and launching["resources"] == working["resources"]
    args = launching["args"]
    slots = spec["slotsPerWorker"] * (1 + roles["Worker"]["replicas"])
    assert int(args[args.index("--devices") + 1]) == slots
    assert working["resources"]["limits"]["nvidia.com/gpu"] == spec["slotsPerWorker"]


def _pods(spec: object) -> Iterator[dict[str, Any]]:
    """Every pod's spec in a manifest."""
    if isinstance(spec, dict):
        if "containers" in spec:
            yield spec
        for part in list(spec.values()):
            yield from _pods(part)


def test_both_services_of_the_compose_file_find_their_place() -> None:
    services = _example("compose.yaml")["services"]
    places = [Started.read(service["environment"]) for service in services.values()]
    assert [place.rank for place in places] == [0, 1]
    assert {place.count for place in places} == {len(services)}
    assert all(place.address in services for place in places)
    commands = [service["command"] for service in services.values()]
    assert commands[0] == commands[1] and commands[0][0] == "run"
    options = dict(zip(commands[0][1::2], commands[0][2::2], strict=True))
    config = resolve(options["--preset"], None, {
        "launcher": options["--launcher"], "hosts": options["--hosts"].split(","),
    })
    assert [host.partition(":")[0] for host in config.hosts] == list(services)


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.slurm")), ids=lambda path: path.name)
def test_batch_scripts_are_shell(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_another_host_of_a_resumed_run_needs_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first host has the results; the others serve it as they did the first time."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    joined = []
    monkeypatch.setattr("suite.cli.cluster.serve_until_told",
                        lambda *place: joined.append(place))
    monkeypatch.setenv(PORT, "29000")
    assert resume_matrix(tmp_path / "absent", {"launcher": "torchrun"}) == 0
    assert joined == [("localhost", 29000)]
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UsageError, match="a run folder"):
        resume_matrix(tmp_path / "absent", {"launcher": "torchrun"})
