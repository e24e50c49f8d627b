"""Says in few lines what is proven about a run and what to doubt."""

from __future__ import annotations

import re

from suite.contract.row import Row
from suite.contract.warnings import Warning
from suite.report.dangers import KINDS, gravest_first
from suite.report.names import listed, names_in

# Warnings whose cause is the machine, not the case -> the field that says how much.
DISTURBED = {"neighbours": "cores", "steal": "share", "drift": "share", "throttled": ""}
# A number in a text, with its unit if that is a percentage or a time.
FIGURE = re.compile(r"-?\d[\d.,e+-]*(?: ?%| [a-zµ]?s\b)?")


def proven(rows: list[Row]) -> str:
    """Says how many cases are at parity, and in which workloads not all of them are."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row.workload} {row.size}", []).append(row)
    text = f"{_at_parity(rows)} cases proven to train the same model as one device in float64"
    lacking = [f"{name} {_at_parity(group)}" for name, group in groups.items()
               if any(row.parity != "ok" for row in group)]
    return f"{text}: {', '.join(lacking)}." if lacking and len(groups) > 1 else f"{text}."


def _at_parity(rows: list[Row]) -> str:
    return f"{sum(row.parity == 'ok' for row in rows)} of {len(rows)}"


def doubts(rows: list[Row], most: int = 3) -> list[str]:
    """Lists the gravest kinds of warning, with the number of their cases.

    Args:
        rows: Rows of the run.
        most: How many kinds are listed; further ones are only counted.
    """
    counts: dict[str, int] = {}
    for row in rows:
        for code in {warning.code for warning in row.warnings}:
            counts[code] = counts.get(code, 0) + 1
    texts = [f"{KINDS[code].name} ({_cases(counts[code], len(rows))})"
             for code in gravest_first(counts)]
    more = [f"{len(texts) - most} kinds more"] if len(texts) > most else []
    return texts[:most] + more


def _cases(count: int, total: int) -> str:
    return "all cases" if count == total else f"{count} of {total} cases"


def noise(rows: list[Row]) -> str:
    """What disturbed the measurement, in a sentence for the top; empty on a quiet machine.

    Rows that were launched in different blocks tell different figures of one cause: the highest is
    said.
    """
    timed = [row for row in rows if row.timed]
    found: dict[str, list[Warning]] = {}
    for warning in (one for row in timed for one in row.warnings if one.code in DISTURBED):
        found.setdefault(warning.code, []).append(warning)
    gravest = [max(same, key=lambda one: one.details.get(DISTURBED[one.code], 0.0))
               for same in found.values()]
    said = [f"{one.message} ({one.hint})" for one in gravest]
    restless = sum(any(one.code == "noisy" for one in row.warnings) for row in timed)
    if 2 * restless > len(timed):
        said.append(f"steps of {restless} of {len(timed)} cases vary by over a tenth of their mean")
    return f"The machine was noisy: {'; '.join(said)}." if said else ""


def grouped_warnings(rows: list[Row]) -> list[tuple[str, str]]:
    """Lists each kind of warning once, gravest first, with the cases that have it.

    If messages differ in their figures alone, the figures stand beside the cases.

    Returns:
        (text of the warning, its cases) of each kind.
    """
    name = names_in(rows)
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for row in rows:
        for warning in row.warnings:
            found.setdefault((warning.code, warning.hint), []).append((warning.message, name(row)))
    counts: dict[str, int] = {}
    for (code, _), said in found.items():
        counts[code] = counts.get(code, 0) + len(said)
    order = gravest_first(counts)
    kinds = sorted(found, key=lambda kind: order.index(kind[0]))
    return [_one_kind(*kind, found[kind], len(rows)) for kind in kinds]


def _one_kind(code: str, hint: str, said: list[tuple[str, str]], total: int) -> tuple[str, str]:
    messages = list(dict.fromkeys(message for message, _ in said))
    if len(messages) == 1:
        return f"{code}: {messages[0]}; {hint}", listed([who for _, who in said], total)
    shared = _shared(messages)
    if shared is None:
        return f"{code}: {hint}", listed([f"{who}: {text}" for text, who in said])
    text, places = shared
    own = [f"{who} {', '.join(FIGURE.findall(message)[place].strip() for place in places)}"
           for message, who in said]
    return f"{code}: {text}; {hint}", listed(own)


def _shared(messages: list[str]) -> tuple[str, list[int]] | None:
    """Finds the words that messages share if they differ in figures alone.

    Returns:
        The words with ``…`` for figures that differ, and the places of these figures; None if the
        messages differ in more.
    """
    if len({FIGURE.sub("", message) for message in messages}) > 1:
        return None
    figures = [FIGURE.findall(message) for message in messages]
    if len({len(found) for found in figures}) > 1:
        return None
    same = [len(set(column)) == 1 for column in zip(*figures, strict=True)]
    text, *after = FIGURE.split(messages[0])
    for figure, held, words in zip(figures[0], same, after, strict=True):
        text += (figure if held else "…") + words
    return text, [place for place, held in enumerate(same) if not held]


def grouped_reasons(rows: list[Row]) -> list[tuple[str, str]]:
    """Lists every reason why cases did not run, with the cases that have it."""
    name = names_in(rows)
    cases: dict[str, list[str]] = {}
    for row in rows:
        if row.status != "ok":
            cases.setdefault(f"{row.status}: {row.reason}", []).append(name(row))
    return [(text, listed(where, len(rows))) for text, where in cases.items()]
