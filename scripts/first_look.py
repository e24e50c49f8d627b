"""Imports once what runs import, so that its bytecode lies there before anything is timed.

    python -m scripts.first_look

uv installs without compiling to bytecode, and compiling all that is installed takes minutes, of
which runs need a third. Here each engine's frameworks are imported with every module of the
adapters that use it, as many engines at a time as there are cores. Bytecode is written even where
PYTHONDONTWRITEBYTECODE is set, as pip does when it installs: there no later process would write it,
and each rank would compile its framework anew. It is also the first proof that what was installed
can be imported. Exits with 1 if an engine cannot be; its rows then say so too.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from suite.contract.plugins import adapter_package
from suite.contract.registry import engines, traits_of
from suite.machine.software import installed_version

# What the harness and its tests import, some of it only where they need it.
HARNESS = ("suite.cli.run", "suite.cli.report", "suite.cli.compare", "scipy.stats",
           "scipy.optimize", "pandas", "sklearn.datasets", "pytest", "hypothesis")
# Folders of an adapter with the modules of one engine alone, such as ``torch_engine``.
OF_ENGINE = "_engine"
# The first argument has to be imported; of the second, what this machine has the means for.
LOOK = """
import contextlib, importlib, sys
needed, others = (text.split() for text in sys.argv[1:3])
for name in needed:
    importlib.import_module(name)
for name in others:
    with contextlib.suppress(Exception):
        importlib.import_module(name)
"""
Look = tuple[list[str], list[str]]


def main() -> int:
    """Imports everything; returns the exit code."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        failed = [name for name in pool.map(imported, looks()) if name]
    for name in failed:
        print(f"cannot be imported: {name}", file=sys.stderr)
    return 1 if failed else 0


def looks() -> list[Look]:
    """Returns the modules of each process, those it must import first: an engine's, the harness's.
    """
    found: dict[str, Look] = {}
    for framework, offered in engines().items():
        traits = traits_of(framework)
        for engine in offered if installed_version(traits.distributions) else ():
            needed, others = found.setdefault(engine, ([], []))
            needed += traits.preloaded.get(engine, ())
            others += modules_of(framework, engine)
    return [*found.values(), ([], list(HARNESS))]


def modules_of(framework: str, engine: str) -> Iterator[str]:
    """Yields every module of an adapter that does not belong to another engine."""
    package = importlib.import_module(adapter_package(framework))
    folder = Path(package.__path__[0])
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        apart = {part for part in parts if part.endswith(OF_ENGINE)}
        if parts[-1] != "__init__" and apart <= {f"{engine}{OF_ENGINE}"}:
            yield ".".join((package.__name__, *parts))


def imported(look: Look) -> str:
    """Imports modules in a process of its own; returns those it must if that fails."""
    needed, others = map(" ".join, look)
    environment = {name: value for name, value in os.environ.items()
                   if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", LOOK, needed, others]
    return needed if subprocess.run(command, env=environment).returncode else ""


if __name__ == "__main__":
    sys.exit(main())
