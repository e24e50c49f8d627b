"""The answer in words: which case is fastest, how sure that is, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from suite.analysis.verdict import NOT_COMPARABLE, Comparison, may_be_fastest
from suite.contract.formats import rate, seconds, seconds_interval, times
from suite.contract.row import Row
from suite.report.breakdown import breakdown
from suite.report.names import case_name, framework_name, listed

Namer = Callable[[Row], str]
# More ties than this are counted and not named.
MANY = 4
# A case that is not shown to be slower is called a tie only if the interval rules out that it takes
# this many times as long.
CLOSE = 1.5
# A smaller ratio between the frameworks' matrix products is not worth a sentence.
UNLIKE = 1.2


@dataclass(frozen=True)
class Ranking:
    """The case with the lowest step time, compared with every other, at 95 % together."""

    best: Row
    compared: list[tuple[Row, Comparison]]


@dataclass(frozen=True)
class Headline:
    """An answer.

    Attributes:
        claim: The sentence that answers.
        support: Sentences that support it.
    """

    claim: str
    support: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.claim, *self.support))


def rank(rows: Sequence[Row]) -> Ranking | None:
    """Finds the case with the lowest step time; None if no case has finished."""
    ordered = sorted((row for row in rows if row.status == "ok"), key=lambda r: r.step_seconds)
    if not ordered:
        return None
    return Ranking(ordered[0], may_be_fastest(ordered[0], ordered[1:]))


def headline(ranking: Ranking | None, name: Namer = case_name) -> Headline:
    """Writes the answer. It claims a difference only if the interval of the ratio excludes 1.

    Args:
        ranking: The cases; None if none has finished.
        name: Names a case.
    """
    if ranking is None:
        return Headline("Nothing has finished yet.")
    ranked = [(row, against) for row, against in ranking.compared
              if against.verdict != NOT_COMPARABLE]
    support = [_over_base(ranking.best), _why(ranking.best), _no_split(ranking, name),
               _runners_up(ranked, name), _libraries(ranking), _refused(ranking.compared, name)]
    claim = _claim(ranking.best, ranked, name)
    return Headline(claim, tuple(text for text in support if text))


def _claim(best: Row, ranked: list[tuple[Row, Comparison]], named: Namer) -> str:
    name, took = named(best), step_text(best)
    if not ranked:
        return f"{name} has the lowest step time, {took}; no other case can be compared with it."
    if not any(against.verdict for _, against in ranked):
        return (f"{name} has the lowest step time, {took}, but one launch cannot show that it is "
                "faster.")
    undecided = [(row, bool(against.verdict) and against.high <= CLOSE) for row, against in ranked
                 if against.verdict != "faster"]
    ties = [named(row) for row, close in undecided if close]
    blurred = [named(row) for row, close in undecided if not close]
    said = []
    if ties:
        all_tie = len(ties) == len(ranked) > MANY
        said.append(f"it ties with {f'all {len(ties)} others' if all_tie else listed(ties)}")
    if blurred:
        none_clear = len(blurred) == len(ranked) > MANY
        others = f"any of the {len(blurred)} others" if none_clear else listed(blurred)
        said.append(f"there are too few launches, or too much noise, to tell it from {others}")
    if not said:
        return f"{name} is fastest: {took} a step, faster than every other case."
    return f"{name} has the lowest step time, {took}; {'; '.join(said)}."


def _over_base(best: Row) -> str:
    if best.strategy == "single" or best.speedup is None or best.base_step_time_s is None:
        return ""
    base = seconds(best.base_step_time_s)
    return (f"That is {speedup_text(best)} as fast as its base, one device of the same framework "
            f"({base}), on {best.devices} device{'s' if best.devices > 1 else ''}.")


def _why(row: Row) -> str:
    parts = breakdown(row)
    if parts is None or row.devices == 1:
        return ""
    compute, transfer, waiting, rest = (f"{100 * share:.0f} %" for share in parts.shares())
    balance = row.load_balance
    load = "" if balance is None else f"; L is {balance:.2f}"
    return (f"Its step is {compute} compute, {transfer} exposed transfer, {waiting} waiting and "
            f"{rest} rest{load}.")


def _no_split(ranking: Ranking, name: Namer) -> str:
    """Says, if one device wins, what the fastest split takes and where its time goes."""
    split = [(row, against) for row, against in ranking.compared if row.strategy != "single"]
    if ranking.best.strategy != "single" or not split:
        return ""
    row = split[0][0]
    beaten = all(against.verdict == "faster" for _, against in split
                 if against.verdict != NOT_COMPARABLE)
    lead = ("Splitting the work does not pay here: one device has the lowest step time." if beaten
            else "No split is shown to be faster than one device.")
    over = f", {speedup_text(row)} its base" if row.speedup is not None else ""
    said = f"{lead} The fastest split, {name(row)}, takes {step_text(row)}{over}."
    return " ".join(filter(None, (said, _why(row))))


def _runners_up(ranked: list[tuple[Row, Comparison]], name: Namer) -> str:
    """Says how the ties compare with the best case or, without ties, how the next case does."""
    sized = [(row, against) for row, against in ranked if against.verdict]
    ties = [(row, against) for row, against in sized if against.verdict != "faster"]
    shown = ties or sized[:1]
    if not shown:
        return ""
    lead = "" if ties else "Next: "
    texts = [f"{name(row)} takes {against.ratio:.2f}× "
             f"[{against.low:.2f}, {against.high:.2f}] as long" for row, against in shown[:3]]
    more = f" (and {len(shown) - 3} more)" if len(shown) > 3 else ""
    return f"{lead}{'; '.join(texts)}{more}."


def _libraries(ranking: Ranking) -> str:
    """Says that the frameworks' own matrix products differ, if they do.

    No way of splitting makes up for that.
    """
    best, rates = ranking.best, dict[str, float]()
    for row in (best, *(row for row, _ in ranking.compared)):
        alike = (row.device, row.dtype) == (best.device, best.dtype)
        if alike and (measured := row.matmul_flops_s):
            rates[framework_name(row)] = max(measured, rates.get(framework_name(row), 0.0))
    if not rates or max(rates.values()) < UNLIKE * min(rates.values()):
        return ""
    written = [f"{rate(rates[name])}FLOP/s in {name}"
               for name in sorted(rates, key=rates.__getitem__)]
    return (f"The frameworks differ before any split: matrix products of one device run at "
            f"{', '.join(reversed(written))}.")


def _refused(compared: list[tuple[Row, Comparison]], name: Namer) -> str:
    by_reason: dict[str, list[str]] = {}
    for row, against in compared:
        if against.verdict == NOT_COMPARABLE:
            by_reason.setdefault(against.reason, []).append(name(row))
    texts = [f"{listed(names, most=4)} ({reason})" for reason, names in by_reason.items()]
    return f"Not comparable with it: {'; '.join(texts)}." if texts else ""


def step_text(row: Row) -> str:
    """Writes ``164 ms [161, 167]``; from one launch there is no interval."""
    return seconds_interval(row.step_seconds, row.step_time_ci_low_s, row.step_time_ci_high_s)


def speedup_text(row: Row) -> str:
    """Writes the speedup, with its interval if there is one."""
    if row.speedup is None:
        return ""
    low, high = row.speedup_ci_low, row.speedup_ci_high
    interval = "" if low is None or math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{times(row.speedup)}{interval}"
