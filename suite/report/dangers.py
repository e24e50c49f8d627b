"""The warnings of a run in one line a kind, those first that endanger the answer most.

The terminal shows these lines; the page and ``results.csv`` keep every warning of every row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.contract.row import Row
from suite.contract.warnings import Warning
from suite.report.axes import column
from suite.report.names import framework_name, names_in

Details = Mapping[str, Any]
# What a doubt endangers: which case is fastest; how sure that is; what exactly was compared;
# why a case is as fast as it is.
ORDER, CERTAINTY, TERMS, EXPLANATION = range(4)


@dataclass(frozen=True)
class Kind:
    """How one kind of warning is said in one line.

    Attributes:
        Endangers: What the doubt endangers, from ``ORDER`` to ``EXPLANATION``.
        name: What the terminal calls it.
        fix: What to do about it, in a few words; the warning's own hint says more.
        figure: How the details of a warning are said.
        worse: A number of a warning's details that is larger for the worse of two warnings.
    """

    endangers: int
    name: str
    fix: str
    figure: str = ""
    worse: Callable[[Details], float] = lambda details: 0.0


@dataclass(frozen=True)
class Doubt:
    """One line of the terminal: what is doubtful, in which cases, how badly, and what to do."""

    endangers: int
    name: str
    cases: str
    worst: str
    fix: str


def _share(details: Details) -> float:
    return float(details["share"])


# In order of danger; of equal danger, the kind that more cases have comes first.
KINDS: dict[str, Kind] = {
    "not_comparable": Kind(ORDER, "base on other terms", "make the settings equal", "{reason}"),
    "not_pinned": Kind(ORDER, "ran on other cores", "let the harness set affinity",
                       "on {found}, asked {asked}"),
    "throttled": Kind(ORDER, "GPU slowed clocks", "cool it, or lock lower clocks", "{reasons}"),
    "drift": Kind(ORDER, "machine drifted", "keep its clocks steady", "by {share:.0%}", _share),
    "steal": Kind(ORDER, "cores given away", "use an unshared machine", "{share:.0%} of time",
                  _share),
    "neighbours": Kind(ORDER, "other programs ran", "end them", "{cores:.2f} cores busy",
                       lambda details: float(details["cores"])),
    "oversubscribed": Kind(ORDER, "oversubscribed", "ask for fewer --devices", "a {what} shared"),
    "one_launch": Kind(CERTAINTY, "single launch", "more --repeats, or --precision", "no interval"),
    "few_launches": Kind(CERTAINTY, "few launches", "more --repeats, or --precision",
                         "{launches}, wanted {needed}", lambda details: -details["launches"]),
    "noisy": Kind(CERTAINTY, "noisy steps", "close other programs", "vary by {share:.0%}", _share),
    "no_steady_state": Kind(CERTAINTY, "still warming up", "raise --warmup",
                            "{launches} of {total} launches",
                            lambda details: details["launches"] / details["total"]),
    "imprecise": Kind(CERTAINTY, "interval too wide", "raise --budget or --repeats",
                      "±{share:.1%}, not {asked:.1%}", _share),
    "rounded_gradients": Kind(TERMS, "rounded gradients", "or use --variant default",
                              "sent as {text}"),
    "emulated": Kind(TERMS, "emulated operation", "see another framework's row"),
    "shared_pool": Kind(TERMS, "shared thread pool", "see rows with a process each"),
    "comm_check": Kind(EXPLANATION, "T_comm in doubt", "look at it with --timeline",
                       "{exposed_ms:.3g} vs {saved_ms:.3g} ms",
                       lambda details: abs(details["exposed_ms"] - details["saved_ms"])),
    "run_over_link": Kind(EXPLANATION, "slow transfers", "plan with alpha_run_s_per_byte",
                          "{factor:.3g} × idle link", lambda details: float(details["factor"])),
    "unsteady_transfer": Kind(EXPLANATION, "T_comm varies", "more --repeats and --probes",
                              "by {share:.0%} a launch", _share),
    "probe_overhead": Kind(EXPLANATION, "probes slow steps", "T_comm is an upper bound",
                           "by {share:.0%}", _share),
    "not_forked": Kind(EXPLANATION, "new processes", "--start fresh has all alike", "{text}"),
    "unprobed": Kind(EXPLANATION, "no figures from probes", "give a smaller --batch", "ran {text}"),
    "not_measured": Kind(EXPLANATION, "not measured", "the cell stays empty", "{what}"),
}
RANKS = {code: rank for rank, code in enumerate(KINDS)}


def gravest_first(counts: Mapping[str, int]) -> list[str]:
    """The codes of warnings, those first that endanger the answer most.

    Args:
        counts: How many cases have a warning of each code.
    """
    return sorted(counts, key=lambda code: (KINDS[code].endangers, -counts[code], RANKS[code]))


def doubt_lines(rows: Sequence[Row], named: bool = True) -> list[Doubt]:
    """One line for each kind of warning that the rows have.

    Args:
        rows: The rows of one run.
        named: Whether a case that is alone, and the worst of several, are called by name. A
            narrow terminal has no room for names and gets numbers of cases.

    Returns:
        The lines, gravest first.
    """
    having: dict[str, list[tuple[Row, Warning]]] = {}
    for row in rows:
        for warning in row.warnings:
            having.setdefault(warning.code, []).append((row, warning))
    codes = gravest_first({code: len(_rows_of(pairs)) for code, pairs in having.items()})
    return [_line(having[code], rows, named) for code in codes]


def _rows_of(pairs: Sequence[tuple[Row, Warning]]) -> list[Row]:
    """The rows of the pairs, once each."""
    return list({id(row): row for row, _ in pairs}.values())


def _line(pairs: list[tuple[Row, Warning]], rows: Sequence[Row], named: bool) -> Doubt:
    row, warning = max(pairs, key=lambda pair: KINDS[pair[1].code].worse(pair[1].details))
    kind = KINDS[warning.code]
    worst = kind.figure.format(**warning.details)
    if named and worst and len({each.message for _, each in pairs}) > 1:
        worst = f"{worst} ({names_in(rows)(row)})"
    some = _rows_of(pairs)
    if named and len(some) == 1 < len(rows):
        cases = names_in(rows)(some[0])
    else:
        cases = _counted(some, rows, named)
    return Doubt(kind.endangers, kind.name, cases, worst, kind.fix)


def _counted(some: list[Row], rows: Sequence[Row], kinds: bool) -> str:
    """``all 16``, ``all 4 inter_layer gpipe`` where ``kinds`` may be named, or ``3 of 16``."""
    ran = [row for row in rows if row.status == "ok"]
    if len(some) == len(ran):
        return f"all {len(ran)}" if len(ran) == len(rows) else f"all {len(ran)} that ran"
    for kind in (column, framework_name, lambda row: f"{row.workload} {row.size}"):
        values = {kind(row) for row in some}
        whole = len(values) == 1 and len(some) == sum(kind(row) in values for row in ran)
        if kinds and len(some) > 1 and whole:
            return f"all {len(some)} {values.pop()}"
    return f"{len(some)} of {len(rows)}"
