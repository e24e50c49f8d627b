"""The names that a shell completes; the modules that know them are imported only when needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path


def completer(what: str) -> Callable[[str], list[str]]:
    """Returns a function that completes names of one kind.

    It also completes the last name of a comma-separated list.

    Args:
        what: The kind of name, as :func:`names` knows it.
    """

    def complete(incomplete: str) -> list[str]:
        done, comma, last = incomplete.rpartition(",")
        return [done + comma + name for name in names(what) if name.startswith(last)]

    return complete


def names(what: str) -> list[str]:
    """Returns every name of the kind ``what`` that a user may give."""
    from suite.analysis.comparison import COMPARED
    from suite.config.resolution import PRESETS
    from suite.config.ways import DEFAULT, variant_names
    from suite.contract.case import BALANCES, DTYPES, MODES, RECOMPUTES, SCALINGS, TRANSPORTS
    from suite.contract.plugins import named
    from suite.contract.registry import engines
    from suite.contract.splits.strategies import AUTO, COMBINED, STRATEGIES
    from suite.contract.sweep import COLLECTIVES
    from suite.contract.workloads import GROUP, WORKLOADS

    known: dict[str, Iterable[str]] = {
        "preset": PRESETS, "framework": engines(), "strategy": [*STRATEGIES, *COMBINED, AUTO],
        "workload": [*WORKLOADS, *named(GROUP)],
        "variant": [DEFAULT, *variant_names()], "metric": COMPARED, "collective": COLLECTIVES,
        "dtype": DTYPES, "mode": MODES, "recompute": RECOMPUTES, "balance": BALANCES,
        "scaling": SCALINGS, "transport": TRANSPORTS,
        "size": [size for sizes in WORKLOADS.values() for size in sizes],
    }
    return list(dict.fromkeys(known[what]))


def complete_runs(incomplete: str) -> list[str]:
    """Returns the run folders under ``results``, or under the folder that the user is typing."""
    typed = Path(incomplete or "results")
    parent = typed if typed.is_dir() else typed.parent
    runs = (str(file.parent) for file in parent.glob("*/run.json"))
    return sorted(run for run in runs if run.startswith(incomplete))
