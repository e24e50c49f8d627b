"""The answer in words: which case is fastest, how sure that is, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from suite.analysis.contenders import (
    TOLD_APART_AT_ONCE,
    Deciding,
    Ranking,
    alike,
    what_would_tell,
)
from suite.analysis.deciding import WIDE
from suite.analysis.verdict import NOT_COMPARABLE, Comparison
from suite.contract.formats import (
    bounds,
    duration,
    percent,
    rate,
    seconds,
    seconds_interval,
    times,
)
from suite.contract.row import Row
from suite.report.breakdown import breakdown
from suite.report.names import case_name, framework_name, listed

Namer = Callable[[Row], str]
# More ties than this are counted and not named.
MANY = 4
# A smaller ratio between the frameworks' matrix products is not worth a sentence.
UNLIKE = 1.2


@dataclass(frozen=True)
class Headline:
    """An answer.

    Attributes:
        claim: The sentence that answers.
        support: Sentences that support it.
        deciding: The launches that would tell the open cases apart; None if nothing would.
        named: The names of those cases.
    """

    claim: str
    support: tuple[str, ...] = ()
    deciding: Deciding | None = None
    named: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.claim, *self.support))

    def telling(self, folder: str) -> str:
        """The command that would tell the open cases apart, and how long it takes; empty for none.

        Args:
            folder: Of the run, which the command goes on with.
        """
        if self.deciding is None:
            return ""
        found = self.deciding
        long = "" if found.seconds is None else f", in about {duration(found.seconds)}"
        more = found.repeats - found.have
        launches = "launch" if more == 1 else "launches"
        return (f"{more} more {launches} each would tell it from {_either(self.named)}{long}: "
                f"python -m suite run --resume {folder} --leader-repeats {found.repeats}")


def headline(ranking: Ranking | None, name: Namer = case_name) -> Headline:
    """Writes the answer. It claims a difference only if the interval of the ratio excludes 1.

    Args:
        ranking: The cases; None if none has finished.
        name: Names a case.
    """
    if ranking is None:
        return Headline("Nothing has finished yet.")
    support = [_over_base(ranking.best), _why(ranking.best), _no_split(ranking, name),
               _runners_up(ranking, name), _libraries(ranking),
               _refused(ranking.compared, name)]
    found = what_would_tell(ranking)
    named = tuple(name(row) for row in found.rows) if found else ()
    return Headline(_claim(ranking, name), tuple(text for text in support if text), found, named)


def _claim(ranking: Ranking, named: Namer) -> str:
    """The winner, or the few that it may be; how many are slower for certain."""
    name, leads, ranked = named(ranking.best), _lead(ranking), ranking.ranked
    if not ranked:
        return f"{name} {leads}; no other case can be compared with it."
    if not any(against.verdict for _, against in ranked):
        return f"{name} {leads}, but one launch cannot show that it is faster."
    if not ranking.open:
        took = f"{step_text(ranking.best)} a step"
        if ranking.grown:
            took = f"{samples_text(ranking.best)}, {took}"
        return f"{name} is fastest: {took}, faster than every other case."
    equal = [named(row) for row, one in ranking.open if alike(one)]
    maybe = [named(row) for row, _ in ranking.undecided]
    said = []
    if equal:
        all_tie = len(equal) == len(ranked) > MANY
        who = f"all {len(equal)} others" if all_tie else listed(equal)
        said.append(f"as fast to within {100 * WIDE:.0f} %: {who}")
    if maybe:
        said.append(f"the fastest may also be {_maybe(maybe)}")
    slower = len(ranked) - len(ranking.open)
    if slower:
        said.append(f"the other {slower} are slower" if slower > 1 else "the other one is slower")
    return f"{name} {leads}; {'; '.join(said)}."


def _lead(ranking: Ranking) -> str:
    """In what the best case leads: steps of different batches do not compare by their time."""
    if ranking.grown:
        return f"trains the most samples a second, {samples_text(ranking.best)}"
    return f"has the lowest step time, {step_text(ranking.best)}"


def _maybe(names: list[str]) -> str:
    """The nearest by name; of many more only their number."""
    shown, more = names[:TOLD_APART_AT_ONCE], len(names) - TOLD_APART_AT_ONCE
    return _either([*shown, f"{more} not told apart yet"] if more > 0 else shown)


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _over_base(best: Row) -> str:
    if best.strategy == "single" or best.speedup is None or best.base_step_time_s is None:
        return ""
    base = seconds(best.base_step_time_s)
    where = f"on {best.devices} device{'s' if best.devices > 1 else ''}"
    if best.work > 1:
        where += f" with {best.work} times the batch (efficiency {efficiency_text(best)})"
    return (f"That is {speedup_text(best)} as fast as its base, one device of the same framework "
            f"({base}), {where}.")


def _why(row: Row) -> str:
    parts = breakdown(row)
    if parts is None or row.devices == 1:
        return ""
    compute, dispatch, transfer, waiting, rest = (
        f"{100 * share:.0f} %" for share in parts.shares()
    )
    balance = row.load_balance
    load = "" if balance is None else f"; L is {balance:.2f}"
    apart = "" if dispatch == "0 %" else f"{dispatch} dispatch, "
    return (f"Its step is {compute} compute, {apart}{transfer} exposed transfer, {waiting} waiting "
            f"and {rest} rest{load}.")


def _no_split(ranking: Ranking, name: Namer) -> str:
    """Says, if one device wins, what the fastest split takes and where its time goes."""
    split = [(row, against) for row, against in ranking.compared if row.strategy != "single"]
    if ranking.best.strategy != "single" or not split:
        return ""
    row = split[0][0]
    beaten = all(against.verdict == "faster" for _, against in split
                 if against.verdict != NOT_COMPARABLE)
    leads = "trains the most samples a second" if ranking.grown else "has the lowest step time"
    lead = (f"Splitting the work does not pay here: one device {leads}." if beaten
            else "No split is shown to be faster than one device.")
    over = f", {speedup_text(row)} its base" if row.speedup is not None else ""
    said = f"{lead} The fastest split, {name(row)}, takes {step_text(row)}{over}."
    return " ".join(filter(None, (said, _why(row))))


def _runners_up(ranking: Ranking, name: Namer) -> str:
    """Says how those that may be as fast compare with the best case, or else the next case."""
    ties = [(row, against) for row, against in ranking.open if against.verdict]
    shown = ties or [(row, against) for row, against in ranking.ranked if against.verdict][:1]
    if not shown:
        return ""
    lead = "" if ties else "Next: "
    each = " a sample" if ranking.grown else ""
    texts = [f"{name(row)} takes {times(against.ratio)}{bounds(against.low, against.high)} as "
             f"long{each}" for row, against in shown[:3]]
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
    return f"{times(row.speedup)}{bounds(row.speedup_ci_low, row.speedup_ci_high)}"


def samples_text(row: Row) -> str:
    """Writes the throughput, such as ``38.9 k samples/s``."""
    found = row.throughput_samples_s
    return "" if found is None else f"{rate(found).rstrip()} samples/s"


def efficiency_text(row: Row) -> str:
    """Writes the efficiency, with its interval if there is one: ``92 % [90, 95]``."""
    if row.efficiency is None:
        return ""
    low, high = (end if end is None else 100 * end
                 for end in (row.efficiency_ci_low, row.efficiency_ci_high))
    return f"{percent(row.efficiency)}{bounds(low, high, 1)}"
