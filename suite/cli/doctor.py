"""``python -m suite doctor``: checks what a run needs of this machine, and says how to mend it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from rich.table import Table
from rich.text import Text

from suite.cli.console import printer
from suite.contract.case import Case
from suite.contract.manifests import manifest
from suite.contract.registry import adapters, engines, load
from suite.machine import description, devices, software
from suite.machine.checks import OK, PROBLEM, WARNING, Check, machine_checks

STYLES = {OK: "green", WARNING: "yellow", PROBLEM: "red"}


def diagnose(as_json: bool, out: Path = Path("results")) -> int:
    """Prints all checks of the machine and of the frameworks.

    Args:
        as_json: Whether to print JSON instead of a table.
        out: The folder of run folders, which has to be writable.

    Returns:
        The exit code: 0, or 1 if no framework can run.
    """
    checks = [*machine_checks(out), *(check for name in adapters() for check in framework(name))]
    able = any(c.state != PROBLEM for c in checks if c.name.startswith("framework "))
    if as_json:
        answer = {"environment": description.describe(), "checks": [asdict(c) for c in checks],
                 "can_run": able}
        print(json.dumps(answer, indent=1))
        return 0 if able else 1
    table = Table("check", "state", "found", "fix", title="Doctor")
    for check in checks:
        state = Text(check.state, style=STYLES[check.state])
        table.add_row(check.name, state, check.found, check.fix)
    printer().print(table)
    return 0 if able else 1


def framework(name: str) -> Iterator[Check]:
    """Checks, for each engine of a framework, that it is installed and fits what it was built
    against.

    Args:
        name: The framework's name, as ``--framework`` takes it.
    """
    problem = load(name).problem
    if problem:
        yield Check(f"framework {name}", PROBLEM, problem, "mend or remove the package behind it")
        return
    adapter = manifest(name)
    own = software.interpreters([name])
    version = software.installed_version(adapter.TRAITS.distributions)
    for engine in engines()[name]:
        label = f"framework {name}" + (f", {engine} engine" if len(engines()[name]) > 1 else "")
        if own:
            yield Check(label, OK, f"in {own[name]}")
            continue
        if not version:
            yield Check(label, PROBLEM, "not installed", "make run, or give --python")
            continue
        case = Case(
            framework=name, engine=engine, strategy="single", variant="", workload="mlp",
            size="tiny", data="synthetic", device="cpu", devices=1,
        )
        misfit = adapter.installation_problem(case)
        on_gpus = devices.gpu_count() and adapter.installation_problem(
            replace(case, device="cuda")
        )
        reason = adapter.unsupported_reason(case)
        if misfit:
            yield Check(label, PROBLEM, f"{version}: {misfit}", "as it says")
        elif reason:
            yield Check(label, PROBLEM, f"{version}: {reason}", "as it says")
        elif on_gpus:
            yield Check(label, WARNING, f"{version}, on CPUs: {on_gpus}", "as it says")
        else:
            yield Check(label, OK, version)
