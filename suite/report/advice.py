"""Advice in a terminal and as a page: the answer first, then why, then what would change it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rich.table import Table

from suite.contract.formats import seconds, size_bytes
from suite.foresight.advice import Advice, CrossoverMap, Way
from suite.foresight.question import way
from suite.report.foresight import mesh
from suite.report.foresight_page import COLOURS, STYLE

HEADINGS = ("way", "mesh", "step", "90 %", "known by", "reasons")
MOST_SHOWN = 8
CELL, LEFT, TOP = 62, 90, 26


def advice_lines(found: Advice, changes: Sequence[str], next_step: str) -> list[str]:
    """The answer in sentences.

    Args:
        found: The ranked ways.
        changes: What would change the answer.
        next_step: What would decide a run that left its answer open; empty for none.
    """
    if not found.ways:
        return [f"No way fits: {found.why}.", *_too_large(found)]
    best = found.ways[0]
    known = "measured" if best.measured else "predicted"
    lines = [f"Choose {way(best.plan)} ({mesh(best.plan) or 'one device'}): "
             f"{seconds(best.step_s)} a step, {known}; {found.why}.", *_sentences(best)]
    lines += [f"What would change it: {'; '.join(changes)}."]
    lines += [f"The last run left the answer open. {next_step}"] if next_step else []
    return [*lines, *_too_large(found)]


def _sentences(best: Way) -> list[str]:
    return [f"{text[0].upper()}{text[1:]}." for text in best.reasons]


def _too_large(found: Advice) -> list[str]:
    return [f"{way(one.plan)} does not fit: {size_bytes(int(one.over))} too much for a device."
            for one in found.too_large[:3]]


def _cells(one: Way) -> tuple[str, ...]:
    known = f"run {one.evidence.run}" if one.evidence else "prediction"
    return (way(one.plan), mesh(one.plan), seconds(one.step_s),
            f"{seconds(one.low_s)}…{seconds(one.high_s)}", known, "; ".join(one.reasons))


def advice_table(found: Advice) -> Table:
    """The ways that fit, in order of preference; measured ones name their run."""
    table = Table(*HEADINGS, title="Ways, the recommended one first")
    for one in found.ways[:MOST_SHOWN]:
        table.add_row(*_cells(one))
    return table


def advice_page(
    found: Advice, changes: Sequence[str], next_step: str, maps: Sequence[CrossoverMap],
    provenance: str,
) -> str:
    """The same as one self-contained page, with a map of what is fastest where.

    Args:
        found: The ranked ways.
        changes: What would change the answer.
        next_step: What would decide a run that left its answer open.
        maps: Fastest strategies over batch and devices, and over batch and link bandwidth.
        provenance: Where the constants come from.

    Returns:
        The page.
    """
    lines = advice_lines(found, changes, next_step)
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADINGS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(one)) + "</tr>"
        for one in found.ways)
    said = "".join(f"<p>{escape(line)}</p>" for line in lines[1:])
    return "".join([
        "<!doctype html><html lang=en><meta charset=utf-8><title>Which way to choose</title>",
        f"<style>{STYLE}</style><h1>{escape(lines[0])}</h1>{said}",
        *(_map(one) for one in maps),
        f"<h2>Ways that fit</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>",
        f"<p class=soft>{escape(provenance)}</p></html>",
    ])


def _map(one: CrossoverMap) -> str:
    """Cells coloured by the fastest strategy, batches from the bottom up."""
    names = sorted({name for row in one.best for name in row if name})
    colour = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    height = CELL // 2
    cells = []
    for up, (batch, row) in enumerate(zip(one.batches, one.best, strict=True)):
        y = TOP + height * (len(one.batches) - 1 - up)
        cells.append(f"<text x={LEFT - 8} y={y + height / 2 + 4} text-anchor=end>{batch}</text>")
        for across, name in enumerate(row):
            title = name or "nothing fits or divides"
            cells.append(
                f"<rect x={LEFT + CELL * across} y={y} width={CELL - 2} height={height - 2} "
                f"fill='{colour.get(name, '#e3e6ea')}' opacity='.85'><title>batch {batch}, "
                f"{one.columns[across]:g}: {escape(title)}</title></rect>")
    bottom = TOP + height * len(one.batches)
    ticks = "".join(
        f"<text x={LEFT + CELL * (place + 0.5)} y={bottom + 16} text-anchor=middle>{value:g}</text>"
        for place, value in enumerate(one.columns))
    legend = "".join(
        f"<rect x={LEFT + 200 * place} y={bottom + 42} width=12 height=12 fill='{colour[name]}'/>"
        f"<text x={LEFT + 16 + 200 * place} y={bottom + 52}>{escape(name)}</text>"
        for place, name in enumerate(names))
    label = one.across if one.across == "devices" else "link bandwidth, times today's"
    width = LEFT + max(CELL * len(one.columns), 200 * len(names)) + 20
    return (f"<h2>What is fastest, over batch and {escape(one.across)}</h2><svg viewBox='0 0 "
            f"{width} {bottom + 64}' width={width} role=img aria-label='fastest way over batch and "
            f"{escape(one.across)}'><text x=4 y={TOP - 8}>batch</text>{''.join(cells)}{ticks}"
            f"<text x={LEFT} y={bottom + 34}>{escape(label)}</text>{legend}</svg>")
