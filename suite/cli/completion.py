"""Names for the shell's completion; what they need is imported when one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path


def completer(what: str) -> Callable[[str], list[str]]:
    """Completes names of ``what``, also the last of a comma-separated list."""

    def complete(incomplete: str) -> list[str]:
        done, comma, last = incomplete.rpartition(",")
        return [done + comma + name for name in names(what) if name.startswith(last)]

    return complete


def names(what: str) -> list[str]:
    """Every name a user may give for ``what``."""
    from suite.analysis.comparison import COMPARED
    from suite.config.matrix import DEFAULT, variant_names
    from suite.config.resolution import PRESETS
    from suite.contract.case import DTYPES, MODES
    from suite.contract.plugins import named
    from suite.contract.registry import engines
    from suite.contract.splits.strategies import COMBINED, STRATEGIES
    from suite.contract.sweep import COLLECTIVES
    from suite.contract.workloads import GROUP, WORKLOADS

    found: dict[str, Iterable[str]] = {
        "preset": PRESETS, "framework": engines(), "strategy": [*STRATEGIES, *COMBINED],
        "workload": [*WORKLOADS, *named(GROUP)],
        "variant": [DEFAULT, *variant_names()], "metric": COMPARED, "collective": COLLECTIVES,
        "dtype": DTYPES, "mode": MODES,
        "size": [size for sizes in WORKLOADS.values() for size in sizes],
    }
    return list(dict.fromkeys(found[what]))


def complete_runs(incomplete: str) -> list[str]:
    """Run folders under ``results`` or the folder that is being typed."""
    typed = Path(incomplete or "results")
    parent = typed if typed.is_dir() else typed.parent
    runs = (str(file.parent) for file in parent.glob("*/run.json"))
    return sorted(run for run in runs if run.startswith(incomplete))
