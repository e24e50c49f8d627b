"""The judgement as text and as a page."""

from __future__ import annotations

from suite.foresight.figures import Figure, verdict
from suite.report.foresight import left_out_lines, verdict_lines
from suite.report.foresight_page import judgement_page

FIGURES = [
    Figure("A table", "step time", "m", 1.0, 1.05, 2.0, 0.9, 1.2),
    Figure("A table", "step time", "m", 2.0, 1.90, 2.0, 1.7, 2.1),
    Figure("B <table>", "memory, peak", "m", 1e9, 2e9),
]


def test_lines_have_the_errors_and_whether_the_goal_is_met() -> None:
    lines = list(verdict_lines([verdict(FIGURES[:2], 0.04), verdict(FIGURES[2:], 2.0)]))
    assert "5.0%" in lines[1] and "50.0%" in lines[1] and "4%, missed" in lines[1]
    assert "200%, met" in lines[2] and "nan" not in "".join(lines)


def test_reasons_are_counted() -> None:
    assert "   7  no number" in "\n".join(left_out_lines({"no number": 7}))


def test_the_page_has_a_point_for_each_figure_and_reads_nothing_as_markup() -> None:
    page = judgement_page(FIGURES, [verdict(FIGURES[:2], 0.04), verdict(FIGURES[2:])])
    assert page.count("<title>A table") == 2 + 1  # and one in the legend
    assert "B &lt;table&gt;" in page and "B <table>" not in page
    assert "class='missed'" in page
