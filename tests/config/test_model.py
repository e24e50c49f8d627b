"""One option, one place: command line, file, environment and documents follow the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from scripts.refresh_docs import EXAMPLE, OPTIONS, example_file, options_page
from suite.cli.app import app
from suite.config.foresight import ForesightConfig
from suite.config.model import AbConfig, RunConfig
from suite.config.models import MODELS
from suite.config.option import settings_of
from suite.config.resolution import resolve
from suite.config.sweep_model import LinkConfig
from suite.config.validation import from_environment, validate
from suite.contract.errors import UsageError

# What users and their scripts rely on; a change here is a change of the contract.
DEFAULTS = {
    "framework": ["pytorch", "tensorflow", "horovod"],
    "strategy": ["single", "data", "intra_layer", "inter_layer"], "variant": [],
    "workload": ["mlp"], "size": "", "data": "real", "mesh": [], "batch": None, "devices": [2],
    "scaling": ["strong"], "device": "auto", "transport": [], "dtype": ["float32"],
    "mode": ["eager"], "oversubscribe": False,
    "accumulate": [1], "recompute": ["none"], "padded": [0], "balance": ["static"],
    "device_speeds": [], "cut": [],
    "steps": 20, "warmup": 50, "repeats": 3,
    "precision": None, "budget": None, "timeout": 120.0, "proof_timeout": 600.0,
    "proof_memory": None, "probes": 2, "probe_steps": 5, "probe_precision": 0.1,
    "timeline": False, "link": True, "find_max_batch": False, "memory_limit": None,
    "batch_resolution": 0.05, "leader_repeats": 0, "finalists": 4, "seed": 0, "python": {},
    "launcher": "local", "hosts": [], "start": "auto",
}


def test_options_and_defaults_are_frozen() -> None:
    assert {s.name: s.default for s in settings_of(RunConfig).values()} == DEFAULTS
    changed = {s.name: s.default for s in settings_of(AbConfig).values()
               if DEFAULTS.get(s.name, "none") != s.default}
    assert changed == {"engine": "", "repeats": 12, "precision": 0.01, "probes": 6}
    assert not {"link", "find_max_batch", "memory_limit", "hosts"} & settings_of(AbConfig).keys()
    assert list(settings_of(LinkConfig)) == [
        "framework", "collective", "devices", "device", "bytes_min", "bytes_max", "repetitions",
        "loaded", "timeout", "python", "interface", "launcher", "hosts",
    ]
    assert list(settings_of(ForesightConfig)) == [
        "workload", "size", "machine", "framework", "mode", "dtype", "devices", "node_devices",
        "batch", "strategy", "schedule", "micro_batches", "recompute", "sharding", "interconnect",
        "python",
    ]


@pytest.mark.parametrize(("command", "model"), [
    ("run", RunConfig), ("ab", AbConfig), ("link", LinkConfig),
    ("predict", ForesightConfig), ("advise", ForesightConfig),
])
def test_every_option_is_on_the_command_line(command: str, model: type[Any]) -> None:
    params = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    flags = {flag for param in params for flag in param.opts}
    assert {setting.flag for setting in settings_of(model).values()} <= flags


def test_documents_are_generated() -> None:
    assert OPTIONS.read_text(encoding="utf-8") == options_page(), "make docs"
    assert EXAMPLE.read_text(encoding="utf-8") == example_file(), "make docs"


def test_every_option_says_what_it_means() -> None:
    assert all(len(s.option.help) > 5 for model in MODELS for s in settings_of(model).values())


def test_the_command_line_wins_over_environment_file_and_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "suite.toml"
    file.write_text("steps = 31\nrepeats = 8\nseed = 5\n")
    monkeypatch.setenv("SUITE_STEPS", "32")
    monkeypatch.setenv("SUITE_REPEATS", "9")
    config = resolve("quick", file, {"steps": 33})
    assert (config.steps, config.repeats, config.seed) == (33, 9, 5)
    assert config.probes == resolve("quick", None, {}).probes


@pytest.mark.parametrize(("name", "text", "value"), [
    ("SUITE_FRAMEWORK", "pytorch,horovod", ["pytorch", "horovod"]),
    ("SUITE_DEVICES", "2,4", [2, 4]),
    ("SUITE_LINK", "no", False), ("SUITE_BUDGET", "2m", 120.0), ("SUITE_SEED", "7", 7),
    ("SUITE_BATCH", "96", 96), ("SUITE_MEMORY_LIMIT", "1.5GiB", 3 << 29),
    ("SUITE_DEVICE_SPEEDS", "1,0.5", [1.0, 0.5]), ("SUITE_TIMEOUT", "60", 60.0),
])
def test_variables_give_what_the_command_line_gives(name: str, text: str, value: Any) -> None:
    options = from_environment(RunConfig, {name: text})
    (key,) = options
    assert getattr(validate(RunConfig, options), key) == value


@pytest.mark.parametrize(("variables", "words"), [
    ({"SUITE_STEP": "3"}, "did you mean SUITE_STEPS"), ({"SUITE_STEPS": "many"}, "type int"),
    ({"SUITE_LINK": "maybe"}, "one of 1, true"), ({"SUITE_XYZ_QQQQQQ": ""}, "unset it"),
])
def test_variables_that_mean_nothing_are_refused(variables: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        from_environment(RunConfig, variables)


def test_a_misspelt_key_is_corrected() -> None:
    with pytest.raises(UsageError, match="did you mean workload"):
        validate(RunConfig, {"worklod": ["mlp"]})
