"""Imports once what every run imports, so that its bytecode lies there before anything is timed.

    python -m scripts.first_look

uv installs without compiling to bytecode, and compiling all that is installed takes minutes, of
which a run needs a tenth. It is also the first proof that what was installed can be imported. As
many frameworks as there are cores are imported at the same time. Exits with 1 if one cannot be,
and says which; the rows of that framework then say so too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from suite.contract.registry import engines, traits_of
from suite.machine.software import installed_version

# What the harness imports, some of it only where it needs it.
HARNESS = ("suite.cli.run", "suite.cli.report", "suite.cli.compare", "scipy.stats")


def main() -> int:
    """Imports everything; returns the exit code."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        failed = [name for name in pool.map(_import, looks()) if name]
    for name in failed:
        print(f"cannot be imported: {name}", file=sys.stderr)
    return 1 if failed else 0


def looks() -> list[tuple[str, ...]]:
    """Returns the modules of each process: all that need one engine, and those of the harness."""
    found: dict[str, dict[str, None]] = {}
    for framework, offered in engines().items():
        traits = traits_of(framework)
        if installed_version(traits.distributions):
            for engine in offered:
                found.setdefault(engine, {}).update(
                    dict.fromkeys(traits.preloaded.get(engine, ())))
    return [HARNESS, *(tuple(modules) for modules in found.values())]


def _import(modules: tuple[str, ...]) -> str:
    """Imports modules in a process of its own; returns their names if that fails."""
    code = f"import {', '.join(modules)}" if modules else ""
    return ", ".join(modules) if subprocess.run([sys.executable, "-c", code]).returncode else ""


if __name__ == "__main__":
    sys.exit(main())
