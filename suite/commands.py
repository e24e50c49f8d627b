"""What each command does, once its options are parsed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from suite import environment, store
from suite.config import ENGINES, PRESETS, build_matrix, resolve
from suite.launch import manifest
from suite.report.terminal import comparison_table
from suite.runner import Progress, Runner, exit_code, new_run_id
from suite.spec.errors import UsageError
from suite.spec.strategies import STRATEGIES, VARIANTS
from suite.spec.workloads import WORKLOADS, parameter_count


def run_matrix(preset: str, file: Path | None, options: dict[str, Any], out: Path) -> int:
    """Validates everything before the first file is written; returns the exit code."""
    config = resolve(preset, file, options)
    cases = build_matrix(config, environment.gpu_count())
    _check_data(config.data)
    folder = store.create_run_folder(out, new_run_id())
    console, errors = Console(), Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
               TextColumn("{task.fields[left]}"))
    with Bar(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("starting", total=None, left="")

        def show(event: Progress) -> None:
            left = "" if event.left_s is None else f"about {event.left_s:.0f} s left"
            bar.update(
                task, description=event.text, completed=event.done, total=event.total, left=left
            )
            if not errors.is_terminal:
                errors.print(f"[{event.done}/{event.total}] {event.text} {left}", markup=False)

        rows = Runner(config, cases, folder, show).execute()
    console.print(comparison_table(rows))
    console.print(f"{folder}/report.html", soft_wrap=True)
    return exit_code(rows)


def _check_data(source: str) -> None:
    if source not in ("real", "synthetic") and not Path(source).is_file():
        fix = "save one with numpy.savez(path, features=..., targets=...)"
        raise UsageError("--data", source, "real, synthetic or an existing .npz file", fix)


def _state(framework: str) -> str:
    version = environment.installed(list(manifest(framework).DISTRIBUTIONS))
    return version or "not installed: run `make run`, or give --python"


def list_everything() -> None:
    console = Console()
    frameworks = Table("framework", "engines", "here", title="Frameworks")
    for name, engines in ENGINES.items():
        frameworks.add_row(name, ", ".join(engines), _state(name))
    strategies = Table("strategy", "variants", title="Strategies")
    for name in STRATEGIES:
        strategies.add_row(name, ", ".join(VARIANTS[name]))
    workloads = Table("workload", "size", "parameters", "global batch", "data", title="Workloads")
    for name, sizes in WORKLOADS.items():
        for size, spec in sizes.items():
            count = f"{parameter_count(spec):,}"
            workloads.add_row(name, size, count, str(spec.global_batch), spec.dataset)
    presets = Table("preset", "settings", title="Presets")
    for name, settings in PRESETS.items():
        presets.add_row(name, ", ".join(f"{key}={value}" for key, value in settings.items()))
    for table in (frameworks, strategies, workloads, presets):
        console.print(table)


def diagnose(as_json: bool) -> None:
    found = environment.describe()
    found["frameworks"] = {name: _state(name) for name in ENGINES}
    if as_json:
        print(json.dumps(found, indent=1))
        return
    table = Table("check", "found", title="Doctor")
    for key, value in found.items():
        table.add_row(key, json.dumps(value) if isinstance(value, dict | list) else str(value))
    Console().print(table)
