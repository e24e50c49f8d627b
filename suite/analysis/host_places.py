"""On which hosts a launch's ranks were, and which links its communications crossed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from suite.analysis.link_fit import LinkFit
from suite.contract.case import Case
from suite.contract.hosts import spans
from suite.contract.records import Launch


def topology(records: Launch) -> str:
    """Returns ``node1: 2, node2: 2``; empty if the records do not name their hosts."""
    ranks = Counter(record.host for record in records if record.host)
    return ", ".join(f"{host}: {count}" for host, count in ranks.items())


def links_between(case: Case, records: Launch, fits: Sequence[LinkFit]) -> list[LinkFit]:
    """Picks the links that lie on as many hosts as the groups of the case's ranks do.

    Args:
        case: The case.
        records: The records of one of its launches, which name the hosts.
        fits: All links that were swept.
    """
    if not fits:
        return []
    hosts = [record.host for record in records]
    if len(hosts) != case.devices:  # one process drives all devices
        return [fit for fit in fits if fit.hosts == 1]
    across = spans(case, hosts)
    return [fit for fit in fits if fit.hosts == across.get(fit.devices, 0)]


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


def _link_of(fit: LinkFit) -> tuple[str, str, str, int]:
    return fit.framework, fit.engine, fit.collective, fit.devices
