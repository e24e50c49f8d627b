"""``python -m suite list``: shows the frameworks, strategies, workloads and presets."""

from __future__ import annotations

from rich.table import Table

from suite.cli.console import printer
from suite.config.resolution import PRESETS
from suite.config.ways import DEFAULT
from suite.contract.plugins import named
from suite.contract.registry import adapters, traits_of
from suite.contract.splits.strategies import COMBINED, VARIANTS
from suite.contract.workloads import GROUP, WORKLOADS, parameter_count, sizes_of
from suite.machine import software


def _state(framework: str) -> str:
    own = software.interpreters([framework])
    if own:
        return f"in {own[framework]}"
    version = software.installed_version(traits_of(framework).distributions)
    return version or "not installed: run `make run`, or give --python"


def list_everything() -> None:
    """Prints one table each for frameworks, strategies, workloads and presets."""
    console = printer()
    frameworks = Table("framework", "engines", "here", title="Frameworks")
    for name, adapter in adapters().items():
        frameworks.add_row(name, ", ".join(adapter.traits.engines), adapter.problem or _state(name))
    strategies = Table("strategy", "variants", title="Strategies")
    for name, variants in (VARIANTS | COMBINED).items():
        strategies.add_row(name, ", ".join(variant or DEFAULT for variant in variants))
    workloads = Table("workload", "size", "parameters", "global batch", "data", title="Workloads")
    for name in [*WORKLOADS, *named(GROUP)]:
        for size, spec in sizes_of(name).items():
            count = f"{parameter_count(spec):,}"
            workloads.add_row(name, size, count, str(spec.global_batch), spec.dataset)
    presets = Table("preset", "settings", title="Presets")
    for name, settings in PRESETS.items():
        presets.add_row(name, ", ".join(f"{key}={value}" for key, value in settings.items()))
    for table in (frameworks, strategies, workloads, presets):
        console.print(table)
