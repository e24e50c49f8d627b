"""The templates of ``examples/clusters/`` against the schemas and programs that will read them."""

from __future__ import annotations

import json
import subprocess
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
SCHEMA = json.loads((ROOT / "tests/schemas/compose-spec.json").read_text(encoding="utf-8"))


def _compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text(encoding="utf-8"))
    return read


def test_the_compose_file_follows_the_published_schema() -> None:
    assert not list(Draft7Validator(SCHEMA).iter_errors(_compose()))
    wrong = _compose()
    wrong["services"]["host-a"]["shm"] = "1gb"
    assert list(Draft7Validator(SCHEMA).iter_errors(wrong))


def test_both_services_of_the_compose_file_find_their_place() -> None:
    services = _compose()["services"]
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
