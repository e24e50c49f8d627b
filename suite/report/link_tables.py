"""The fitted links, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from suite.analysis.link_fit import LinkFit
from suite.contract.formats import rate, seconds, size_bytes
from suite.contract.registry import label

HEADINGS = ("link", "over", "beside", "collective", "n", "alpha", "95 %", "latency", "n½",
            "algbw", "busbw", "error, worst", "valid")


def link_tables(fits: Sequence[LinkFit]) -> Iterator[RenderableType]:
    """Yields a table with a line for each fitted link, then every reason why one is missing."""
    table = Table(*HEADINGS, title="Links: alpha is seconds per payload byte of a call")
    for fit in fits:
        if fit.status == "ok":
            table.add_row(*_cells(fit))
    yield table
    for (whose, status, reason), names in _missing(fits).items():
        style = "dim" if status == "unsupported" else "red"
        yield Text(f"{whose}, {', '.join(names)}: {status}, {reason}", style=style)


def _missing(fits: Sequence[LinkFit]) -> dict[tuple[str, str, str], list[str]]:
    missing: dict[tuple[str, str, str], list[str]] = {}
    for fit in fits:
        if fit.status != "ok":
            missing.setdefault((_whose(fit), fit.status, fit.reason), []).append(fit.collective)
    return missing


def _whose(fit: LinkFit) -> str:
    return label(fit.framework, fit.engine)


def _cells(fit: LinkFit) -> list[str]:
    def shown(value: float | None, text: Callable[[float], str], unit: str = "") -> str:
        return "" if value is None else text(value) + unit

    return [
        _whose(fit), f"{fit.backend} {fit.transport}", "nothing" if fit.idle else "computing",
        fit.collective, str(fit.devices),
        shown(fit.alpha_s_per_byte, "{:.3g}".format),
        f"{fit.alpha_ci_low:.2g}…{fit.alpha_ci_high:.2g}",
        shown(fit.latency_s, seconds), shown(fit.half_bandwidth_bytes, size_bytes),
        shown(fit.algorithm_bandwidth_bytes_s, rate, "B/s"),
        shown(fit.bus_bandwidth_bytes_s, rate, "B/s"),
        f"{fit.heldout_error_mean:.0%}, {fit.heldout_error_max:.0%}",
        f"{size_bytes(fit.bytes_min)}…{size_bytes(fit.bytes_max)}",
    ]
