"""On which hosts a launch's ranks were, and how the links were scheduled that they used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from suite.analysis.link_fit import LinkFit
from suite.contract.case import Case
from suite.contract.records import Launch


def topology(records: Launch) -> str:
    """Returns ``node1: 2, node2: 2``; empty if the records do not name their hosts."""
    ranks = Counter(record.host for record in records if record.host)
    return ", ".join(f"{host}: {count}" for host, count in ranks.items())


def links_of_processes(case: Case, fits: Sequence[LinkFit]) -> list[LinkFit]:
    """Leaves out the links inside a process if each device of the case has a process of its own.

    That is so over hosts where one process drives all devices of a single host: what its sweep
    measured there is a copy, and a case over hosts makes none.

    Args:
        case: The case.
        fits: The links that were swept.
    """
    apart = case.placed and case.hosts > 1
    return [fit for fit in fits if fit.hosts > 1 or not apart]


def links_scheduled(fits: Sequence[LinkFit], event_loops: str) -> list[LinkFit]:
    """Picks the links whose event loops were scheduled as a row's were.

    Args:
        fits: The links that were swept.
        event_loops: What the row's ledger says; empty if it says nothing.

    Returns:
        Of each collective the sweep with that policy; if there is none, those that there are.
    """
    alike = [fit for fit in fits if fit.event_loops in ("", event_loops)]
    known = {_link_of(fit) for fit in alike}
    return alike + [fit for fit in fits if _link_of(fit) not in known]


def _link_of(fit: LinkFit) -> tuple[str, str, str, int, int]:
    return fit.framework, fit.engine, fit.collective, fit.devices, fit.hosts
