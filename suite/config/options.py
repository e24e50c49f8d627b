"""What a user may ask for: presets, configuration files and options, validated once here."""

from __future__ import annotations

import re
import sys
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from suite.contract import registry
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.errors import UsageError
from suite.contract.registry import adapters, engines
from suite.contract.splits.division import check_divides, division_problem
from suite.contract.splits.mesh import balances, mesh_of, mesh_text, parse_mesh, parts_of
from suite.contract.splits.strategies import COMBINED, STRATEGIES, VARIANTS
from suite.contract.workloads import DEFAULT_SIZES, find_workload, sized_workload
from suite.machine import software

# Framework -> interpreter: those that are named, over those that are found.
Interpreters = Annotated[
    dict[str, str], AfterValidator(lambda named: software.interpreters(engines()) | named),
    Field(default_factory=dict, validate_default=True),
]


LISTS = (
    "framework", "strategy", "workload", "variant", "mesh", "devices", "dtype", "mode",
    "accumulate",
)


class RunConfig(BaseModel):
    """The matrix and how it is measured. Lists may be given as comma-separated text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    framework: list[str] = Field(default_factory=lambda: list(registry.own()), min_length=1)
    strategy: list[str] = Field(default_factory=lambda: list(STRATEGIES), min_length=1)
    variant: list[str] = Field(default_factory=list)
    workload: list[str] = Field(default_factory=lambda: ["mlp"], min_length=1)
    size: str = ""
    data: str = "real"
    mesh: list[str] = Field(default_factory=list)
    devices: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [2], min_length=1)
    batch: int | None = Field(default=None, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: list[Literal["float32", "tf32", "bf16"]] = Field(["float32"], min_length=1)
    mode: list[Literal["eager", "compiled"]] = Field(["eager"], min_length=1)
    oversubscribe: bool = False
    accumulate: list[Annotated[int, Field(ge=1)]] = Field(default_factory=lambda: [1], min_length=1)
    steps: int = Field(default=20, ge=1)
    warmup: int = Field(default=50, ge=2 * PARITY_STEPS)
    repeats: int = Field(default=3, ge=1)
    precision: float | None = Field(default=None, gt=0, lt=1)
    budget: float | None = Field(default=None, gt=0)
    probes: int = Field(default=2, ge=0)
    probe_steps: int = Field(default=5, ge=1)
    timeline: bool = False
    seed: int = Field(default=0, ge=0)
    timeout: float = Field(default=120.0, gt=0)
    python: Interpreters
    link: bool = True
    find_max_batch: bool = False
    memory_limit: int | None = Field(default=None, ge=1)
    device_speeds: Literal["measured"] | list[float] = Field(default_factory=list)
    batch_resolution: float = Field(default=0.05, gt=0, lt=1)

    @field_validator("variant", "mesh", "dtype", "mode", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("devices", "accumulate", mode="before")
    @classmethod
    def _counts(cls, value: Any) -> Any:
        """One number, or a list; of a command line as text."""
        values = value if isinstance(value, list) else [value]
        return [int(one) if isinstance(one, str) and one.lstrip("-").isdecimal() else one
                for one in values]

    @field_validator(*LISTS)
    @classmethod
    def _no_repeats(cls, value: list[Any]) -> list[Any]:
        return list(dict.fromkeys(value))

    @field_validator("device_speeds", mode="before")
    @classmethod
    def _speeds(cls, value: Any) -> Any:
        return parse_speeds(value) if isinstance(value, str) else value

    @field_validator("device_speeds")
    @classmethod
    def _forward(cls, value: Any) -> Any:
        if value != MEASURED and not all(0 < speed < float("inf") for speed in value):
            raise ValueError("a positive number for each device, such as 1,0.5, or measured")
        return value

    @field_validator("memory_limit", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        return parse_bytes(value) if isinstance(value, str) else value

    @field_validator("precision", "batch_resolution", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        return parse_share(value) if isinstance(value, str) else value

    @field_validator("budget", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        return parse_duration(value) if isinstance(value, str) else value


def parse_share(text: str) -> float:
    """``3%`` or ``0.03``."""
    found = re.fullmatch(r"\s*(\d*\.?\d+)\s*(%?)\s*", text)
    if not found:
        raise ValueError("a share such as 3% or 0.03")
    return float(found[1]) / (100 if found[2] else 1)


MEASURED = "measured"


def parse_speeds(text: str) -> str | list[float]:
    """``measured``, or ``1,0.5``: a relative speed a device."""
    if text == MEASURED:
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError("a number for each device, such as 1,0.5, or measured") from None


UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def parse_bytes(text: str) -> int:
    """``1048576``, ``512KiB``, ``64MiB`` or ``1.5GiB``."""
    found = re.fullmatch(r"(\d*\.?\d+) ?([A-Za-z]*)", text.strip())
    if not found or found[2] not in UNITS or float(found[1]) * UNITS[found[2]] < 1:
        raise ValueError("bytes, or a number of KiB, MiB or GiB such as 16MiB")
    return int(float(found[1]) * UNITS[found[2]])


def parse_duration(text: str) -> float:
    """Seconds of ``90s``, ``20m`` or ``1.5h``; a bare number is seconds."""
    found = re.fullmatch(r"\s*(\d*\.?\d+)\s*([smh]?)\s*", text)
    if not found:
        raise ValueError("a duration such as 90s, 20m or 1.5h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


DEFAULT = "default"
# Launches at most where a rule asks for as many as it takes.
REPEATS_OF_A_RULE = 30


def resolve(preset: str, file: Path | None, options: dict[str, Any]) -> RunConfig:
    """Preset, then file, then command line; raises :class:`UsageError` on the first wrong key."""
    if preset not in PRESETS:
        raise UsageError("--preset", preset, f"one of {', '.join(PRESETS)}", "pick one of these")
    given = {key: value for key, value in options.items() if value not in (None, [], {})}
    asked = _read(file) | given
    merged = PRESETS[preset] | asked
    # A size belongs to one workload: a preset's does not carry over to another workload.
    of_all = merged.get("size") == "tiny"
    if merged.get("workload") != PRESETS[preset]["workload"] and not (asked.get("size") or of_all):
        merged["size"] = ""
    if {"precision", "budget"} & merged.keys() and "repeats" not in asked:
        merged["repeats"] = REPEATS_OF_A_RULE
    config = validate(RunConfig, merged)
    if config.memory_limit and not config.find_max_batch:
        expected = "--find-max-batch beside it, the search that it limits"
        fix = "add --find-max-batch, or drop it"
        raise UsageError("--memory-limit", config.memory_limit, expected, fix)
    return config


Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], values: dict[str, Any]) -> Model:
    """The options as ``model``; raises :class:`UsageError` on the first wrong key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(part for part in first["loc"] if isinstance(part, str))
        allowed = ", ".join(model.model_fields)
        said = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        expected = said if first["type"] != "extra_forbidden" else f"one of {allowed}"
        got = key if first["type"] == "extra_forbidden" else first["input"]
        raise UsageError(f"option {key}", got, expected, "correct it") from None


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise UsageError("--config", str(file), "a readable file", str(error)) from None
    except ValueError as error:  # TOML's, or bytes that are no text
        raise UsageError("--config", str(file), "valid TOML", str(error)) from None


# Files of the same names as a user's own configuration, from small to large.
PRESETS: dict[str, dict[str, Any]] = {
    name: _read(Path(__file__).parent / "presets" / f"{name}.toml")
    for name in ("smoke", "quick", "standard", "coverage", "meshes")
}


def build_matrix(config: RunConfig, gpus: int) -> list[Case]:
    """Every case of the matrix; raises :class:`UsageError` for what can never run."""
    # One kind for all numbers of devices: they share their bases.
    device = choose_device(config.device, max(config.devices), gpus, config.oversubscribe)
    # An adapter that cannot be loaded may be asked for: its rows say why it cannot.
    offered = {name: adapter.traits.engines for name, adapter in adapters().items()}
    known("framework", config.framework, offered)
    known("strategy", config.strategy, [*STRATEGIES, *COMBINED])
    known("python", list(config.python), offered)
    known("variant", config.variant, [DEFAULT, *variant_names()])
    ways = [
        (strategy, variant, count, mesh) for strategy in config.strategy
        for variant in _variants(strategy, config.variant)
        for count, mesh in _devices(strategy, config)
    ]
    _check_meshes_used(config)
    speeds = _planned_speeds(config)
    cases = []
    for workload in config.workload:
        size = find_workload(workload, config.size or DEFAULT_SIZES.get(workload, "")).size
        sized_workload(workload, size, config.batch or 0)
        cases += [
            Case(
                framework=framework, engine=engine, strategy=strategy, variant=variant,
                workload=workload, size=size, data=config.data, device=device, devices=count,
                dtype=dtype, mode=mode, steps=config.steps, seed=config.seed,
                probe_steps=config.probe_steps, warmup_limit=config.warmup,
                mesh=mesh, global_batch=config.batch or 0, device_speeds=_unequal(speeds, count),
                oversubscribe=device == "cuda" and count > gpus, accumulate=accumulate,
            )
            for framework in config.framework for engine in offered[framework]
            for strategy, variant, count, mesh in ways
            for dtype in config.dtype for mode in config.mode for accumulate in config.accumulate
        ]
    _check_splits(cases)
    return cases


def _devices(strategy: str, config: RunConfig) -> list[tuple[int, str]]:
    """How many devices, and as which mesh.

    A single device is one, the base of every number of devices. Of a combined strategy the meshes
    that were asked for, and balanced ones for the other numbers that have enough factors.
    """
    parts = parts_of(strategy)
    if len(parts) < 2:
        return [(count, "") for count in (config.devices if parts else [1])]
    meshes = []
    for text in config.mesh:
        if set(sizes := parse_mesh(text)) == set(parts):
            count = prod(sizes.values())
            asked = count if count in config.devices else max(config.devices)
            meshes.append(mesh_of(strategy, asked, text))
    given = {mesh.devices for mesh in meshes}
    meshes += [mesh_of(strategy, count) for count in config.devices
               if count not in given and balances(strategy, count)]
    if not meshes:
        mesh_of(strategy, config.devices[0])
    found = [(mesh.devices, mesh_text(strategy, mesh)) for mesh in meshes]
    return sorted(dict.fromkeys(found), key=lambda one: config.devices.index(one[0]))


def _check_meshes_used(config: RunConfig) -> None:
    """Raises :class:`UsageError` for a mesh that none of the strategies has."""
    axes = [set(parts_of(strategy)) for strategy in config.strategy if "+" in strategy]
    for text in config.mesh:
        if set(parse_mesh(text)) not in axes:
            expected = f"the axes of {', '.join(s for s in config.strategy if '+' in s)}"
            if not axes:
                expected = f"a combined strategy: {', '.join(COMBINED)}"
            raise UsageError("--mesh", text, expected, "name the axes of a --strategy")


def _planned_speeds(config: RunConfig) -> list[float]:
    """One a device of the largest count; fewer devices are the first of them."""
    speeds = config.device_speeds
    if isinstance(speeds, str):
        raise UsageError("--device-speeds", speeds, "numbers, once they are measured",
                         "give them as numbers")
    if speeds and len(speeds) != max(config.devices):
        shown = ",".join(f"{speed:g}" for speed in speeds)
        raise UsageError("--device-speeds", shown, f"one for each of {max(config.devices)} devices",
                         "correct it, or --devices")
    return speeds


def _unequal(speeds: list[float], count: int) -> tuple[float, ...]:
    """Those of the first ``count`` devices; empty where they are alike."""
    return tuple(speeds[:count]) if len(set(speeds[:count])) > 1 else ()


def _check_splits(cases: list[Case]) -> None:
    """Raises :class:`UsageError` where no number of devices that was asked for splits evenly.

    Of several numbers one that does not is a row without figures, which says why.
    """
    ways: dict[tuple[str, str, str], list[Case]] = {}
    for case in cases:
        ways.setdefault((case.workload, case.strategy, case.variant), []).append(case)
    for group in ways.values():
        if all(map(division_problem, group)):
            check_divides(group[0])


def variant_names() -> list[str]:
    return [name for names in VARIANTS.values() for name in names if name]


def _variants(strategy: str, asked: list[str]) -> list[str]:
    """Those of a strategy that were asked for, else its first; ``default`` is the unnamed one."""
    offered = (VARIANTS | COMBINED)[strategy]
    found = [name for name in offered if (name or DEFAULT) in asked]
    return found or [offered[0]]


def known(what: str, asked: list[str], allowed: Any) -> None:
    """Raises :class:`UsageError` for a name that is not allowed."""
    for name in asked:
        if name not in allowed:
            expected = f"one of {', '.join(allowed)}"
            raise UsageError(f"--{what}", name, expected, "pick one of these")


def choose_device(asked: str, devices: int, gpus: int, oversubscribe: bool = False) -> str:
    """``auto`` takes GPUs where there are enough; raises :class:`UsageError` without.

    ``gpus`` are those that CUDA_VISIBLE_DEVICES leaves; ``oversubscribe`` lets ranks share them.
    """
    if asked == "cuda" and gpus < 1:
        raise UsageError("--device", "cuda", "a machine with a GPU", "use --device cpu")
    if asked == "cuda" and gpus < devices and not oversubscribe:
        expected = f"{devices} GPUs, of which {gpus} can be seen"
        fix = "ask for fewer --devices, or let ranks share one over gloo with --oversubscribe"
        raise UsageError("--device", "cuda", expected, fix)
    if asked != "auto":
        return asked
    return "cuda" if gpus >= devices or (gpus and oversubscribe) else "cpu"
