"""The page of judged predictions: predicted against published, and a table by source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from suite.foresight.figures import Figure, Verdict
from suite.report.foresight import HEADINGS, cells

SIZE, MARGIN = 720.0, 56.0
COLOURS = ("#d1495b", "#d98e04", "#2a6f97", "#3c8d5a", "#7a4fa3", "#6b705c", "#c2185b", "#00838f",
           "#5d4037", "#689f38", "#303f9f", "#ef6c00")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 74rem; margin: 0 auto; padding: 1rem 1.5rem;
color: #1b1f24; background: #fff } table { border-collapse: collapse; font-size: .87rem }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d9dde3 }
.missed td:nth-child(6) { color: #b3261e; font-weight: 600 }
.met td:nth-child(6) { color: #0f7a53 }
.soft { color: #5c6570 } svg { max-width: 100%; height: auto } h2 { margin-top: 1.6rem }
svg text { font: 12px system-ui, sans-serif; fill: #1b1f24 }
"""
SECONDS = ("step time", "all-reduce")


def judgement_page(figures: Sequence[Figure], found: Sequence[Verdict]) -> str:
    """One self-contained HTML page.

    Args:
        figures: Published figures with their predictions.
        found: One verdict for each source and quantity.

    Returns:
        The page.
    """
    timed = [f for f in figures if f.quantity.startswith(SECONDS)]
    bytes_ = [f for f in figures if f.quantity.startswith("memory")]
    rows = "".join(_row(one) for one in found)
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADINGS)
    return "".join([
        "<!doctype html><html lang=en><meta charset=utf-8><title>Foresight, judged</title>",
        f"<style>{STYLE}</style><h1>What the model predicts of tables that it has never run</h1>",
        "<p>Each point is a published figure. A few rows of a hardware and software stack, at most "
        "ten and never of the model that is judged, calibrate the constants; the other rows are "
        "predicted. Points on the diagonal are exact; the band is 10 % to either side.</p>",
        _plot(timed, "seconds"), _plot(bytes_, "bytes"),
        "<h2>By source</h2><p class=soft>Errors are means of absolute relative errors. The "
        "simplest rule is constant utilisation for steps, bandwidth alone for links, linear "
        "speedup for data parallelism, the ideal bubble for pipelines, and the training states "
        "alone for memory. Rank is Spearman's correlation of configurations within a model."
        f"</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></html>",
    ])


def _row(one: Verdict) -> str:
    name = {None: "", True: "met", False: "missed"}[one.met]
    return f"<tr class='{name}'>" + "".join(f"<td>{escape(c)}</td>" for c in cells(one)) + "</tr>"


def _plot(figures: Sequence[Figure], unit: str) -> str:
    """A log-log plot of predicted over published."""
    if not figures:
        return ""
    values = [v for f in figures for v in (f.published, f.predicted)]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    scale = (SIZE - 2 * MARGIN) / (high - low)

    def across(value: float) -> float:
        return MARGIN + (math.log10(value) - low) * scale

    def up(value: float) -> float:
        return SIZE - across(value)

    sources = list(dict.fromkeys(f.source for f in figures))
    colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(sources)}
    shapes = {name: i // len(COLOURS) for i, name in enumerate(sources)}
    dots = "".join(
        _dot(across(f.published), up(f.predicted), colour[f.source], shapes[f.source], _title(f))
        for f in figures
    )
    ticks = "".join(_tick(across(10.0**power), power) for power in range(low, high + 1))
    first, last = 10.0**low, 10.0**high
    band = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in (
        (first, first * 1.1), (last, last * 1.1), (last, last / 1.1), (first, first / 1.1)))
    width = SIZE + 250
    return (
        f"<h2>Predicted against published, {unit}</h2>"
        f"<svg viewBox='0 0 {width} {SIZE}' width={width} role=img aria-label='predicted against "
        f"published {unit}'><polygon points='{band}' fill='#0f9d6b' opacity='.18'/>"
        f"<line x1={across(first)} y1={up(first)} x2={across(last)} y2={up(last)} "
        f"stroke='#5c6570'/>"
        f"{ticks}{dots}<text x={SIZE / 2} y={SIZE - 8} text-anchor=middle>published, {unit}</text>"
        f"<text transform='translate(14 {SIZE / 2}) rotate(-90)' text-anchor=middle>predicted, "
        f"{unit}</text>{''.join(_legend(sources, colour, shapes))}</svg>"
    )


def _title(figure: Figure) -> str:
    return (f"{figure.source}, {figure.model}: published {figure.published:.4g}, predicted "
            f"{figure.predicted:.4g} ({figure.error:+.1%})")


def _dot(x: float, y: float, colour: str, shape: int, title: str) -> str:
    mark = (f"<circle cx={x:.1f} cy={y:.1f} r=3" if not shape
            else f"<rect x={x - 3:.1f} y={y - 3:.1f} width=6 height=6")
    return f"{mark} fill='{colour}' opacity='.65'><title>{escape(title)}</title>" + (
        "</circle>" if not shape else "</rect>")


def _tick(place: float, power: int) -> str:
    text = f"10<tspan dy='-5' font-size='9'>{power}</tspan>"
    return (
        f"<line x1={place} x2={place} y1={MARGIN} y2={SIZE - MARGIN} stroke='#d9dde3'/>"
        f"<line y1={SIZE - place} y2={SIZE - place} x1={MARGIN} x2={SIZE - MARGIN} "
        f"stroke='#d9dde3'/><text x={place} y={SIZE - MARGIN + 18} text-anchor=middle>{text}</text>"
        f"<text x={MARGIN - 8} y={SIZE - place + 4} text-anchor=end>{text}</text>"
    )


def _legend(
    sources: Sequence[str], colour: dict[str, str], shapes: dict[str, int]
) -> Iterator[str]:
    for place, name in enumerate(sources):
        y = MARGIN + 18.0 * place
        yield _dot(SIZE - 20, y, colour[name], shapes[name], name)
        yield f"<text x={SIZE - 10} y={y + 4}>{escape(name)}</text>"
