"""What a user may ask for: presets, configuration files and options, validated once here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from suite.spec.case import Case
from suite.spec.errors import UsageError
from suite.spec.strategies import STRATEGIES, VARIANTS, check_divides
from suite.spec.workloads import find_workload

ENGINES = {"pytorch": ("torch",), "tensorflow": ("tensorflow",), "horovod": ("torch", "tensorflow")}
DEFAULT_SIZE = {"mlp": "wide", "gpt": "small"}


class RunConfig(BaseModel):
    """The matrix and how it is measured. Lists may be given as comma-separated text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    framework: list[str] = Field(default_factory=lambda: list(ENGINES), min_length=1)
    strategy: list[str] = Field(default_factory=lambda: list(STRATEGIES), min_length=1)
    variant: str = "gpipe"
    workload: list[str] = Field(default_factory=lambda: ["mlp"], min_length=1)
    size: str = ""
    data: str = "real"
    devices: int = Field(default=2, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32"] = "float32"
    mode: Literal["eager", "compiled"] = "eager"
    steps: int = Field(default=20, ge=1)
    repeats: int = Field(default=3, ge=1)
    seed: int = Field(default=0, ge=0)
    timeout: float = Field(default=120.0, gt=0)
    python: dict[str, str] = Field(default_factory=dict)

    @field_validator("framework", "strategy", "workload")
    @classmethod
    def _no_repeats(cls, value: list[str]) -> list[str]:
        return list(dict.fromkeys(value))


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"workload": ["mlp"], "size": "tiny", "steps": 10, "repeats": 1},
    "quick": {"workload": ["mlp"], "size": "wide", "steps": 6, "repeats": 3},
    "standard": {"workload": ["mlp", "gpt"], "steps": 20, "repeats": 5},
}


def resolve(preset: str, file: Path | None, options: dict[str, Any]) -> RunConfig:
    """Preset, then file, then command line; raises :class:`UsageError` on the first wrong key."""
    if preset not in PRESETS:
        raise UsageError("--preset", preset, f"one of {', '.join(PRESETS)}", "pick one of these")
    merged = PRESETS[preset] | _read(file)
    merged |= {key: value for key, value in options.items() if value not in (None, [], {})}
    # A size belongs to one workload: a preset's does not carry over to another workload.
    if merged.get("workload") != PRESETS[preset]["workload"] and "size" not in {
        key for key, value in (_read(file) | options).items() if value
    }:
        merged["size"] = "tiny" if preset == "smoke" else ""
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        allowed = ", ".join(RunConfig.model_fields)
        expected = first["msg"] if first["type"] != "extra_forbidden" else f"one of {allowed}"
        got = key if first["type"] == "extra_forbidden" else first["input"]
        raise UsageError(f"option {key}", got, expected, "correct it") from None


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise UsageError("--config", str(file), "a readable file", str(error)) from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError("--config", str(file), "valid TOML", str(error)) from None


def build_matrix(config: RunConfig, gpus: int) -> list[Case]:
    """Every case of the matrix; raises :class:`UsageError` for what can never run."""
    device = _device(config, gpus)
    _known("framework", config.framework, ENGINES)
    _known("strategy", config.strategy, STRATEGIES)
    _known("python", list(config.python), ENGINES)
    cases = []
    for workload in config.workload:
        size = config.size or DEFAULT_SIZE.get(workload, "")
        spec = find_workload(workload, size)
        for framework in config.framework:
            for engine in ENGINES[framework]:
                for strategy in config.strategy:
                    variant = _variant(strategy, config.variant)
                    count = 1 if strategy == "single" else config.devices
                    check_divides(spec, strategy, variant, count)
                    cases.append(
                        Case(
                            framework, engine, strategy, variant, workload, size, config.data,
                            device, count, config.dtype, config.mode, config.steps, config.seed,
                        )
                    )
    return cases


def _variant(strategy: str, asked: str) -> str:
    allowed = VARIANTS["inter_layer"]
    if asked not in allowed:
        raise UsageError("--variant", asked, f"one of {', '.join(allowed)}", "pick one of these")
    return asked if strategy == "inter_layer" else ""


def _known(what: str, asked: list[str], allowed: Any) -> None:
    for name in asked:
        if name not in allowed:
            expected = f"one of {', '.join(allowed)}"
            raise UsageError(f"--{what}", name, expected, "pick one of these")


def _device(config: RunConfig, gpus: int) -> str:
    if config.device == "cuda" and gpus < 1:
        raise UsageError("--device", "cuda", "a machine with a GPU", "use --device cpu")
    if config.device != "auto":
        return config.device
    return "cuda" if gpus >= config.devices else "cpu"
