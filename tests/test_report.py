"""Tables for readers: nothing unescaped, nothing called faster without grounds."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from suite.report.html import render, tint
from suite.report.matrix import build_grids
from suite.report.terminal import comparison
from suite.spec.metrics import BY_NAME, COLUMNS

RUN = {
    "run_id": "r", "environment": {"processor": "<b>chip</b>", "cores": 2, "gpus": 0},
    "configuration": {"seed": 0, "data": "<script>alert(1)</script>"},
}


def _row(strategy: str, seconds: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {
        "case_id": strategy, "framework": "pytorch", "engine": "torch", "strategy": strategy,
        "variant": "", "workload": "mlp", "size": "tiny", "device": "cpu", "devices": 2,
        "global_batch": 64, "status": "ok", "reason": "", "warnings": "", "parity": "ok",
        "step_time_s": seconds, "step_time_ci_low_s": low, "step_time_ci_high_s": high,
        "speedup": 1.7, "speedup_ci_low": 1.6, "speedup_ci_high": 1.8,
    }
    return row | more


def test_overlap_is_a_tie() -> None:
    rows = [_row("single", 2.0, 1.9, 2.1), _row("data", 1.0, 0.9, 1.1),
            _row("intra_layer", 1.05, 1.0, 1.2)]
    assert "a tie with pytorch intra_layer." in build_grids(rows)[0].verdict
    assert "faster" not in build_grids(rows)[0].verdict


def test_clear_lead_is_faster() -> None:
    rows = [_row("single", 2.0, 1.9, 2.1), _row("data", 1.0, 0.9, 1.1)]
    verdict = build_grids(rows)[0].verdict
    assert verdict == (
        "pytorch data has the lowest step time, 1 s: faster than every other, "
        "next pytorch single at 2 s."
    )


def test_one_launch_is_never_faster() -> None:
    nan = float("nan")
    rows = [_row("single", 2.0, nan, nan), _row("data", 1.0, nan, nan)]
    assert "cannot show" in build_grids(rows)[0].verdict


def test_page_escapes_and_stands_alone() -> None:
    bad = _row("data", 1, 1, 1, status="failed", reason="<img src=x onerror=alert(1)>")
    losses = [{"case_id": "single", "step": 0, "loss": 1.0, "reference_loss": 1.0}]
    page = render(RUN, [_row("single", 1, 1, 1), bad], losses)
    assert "<script" not in page and "<img" not in page and "<b>chip" not in page
    assert "http://" not in page and "https://" not in page and "src=" not in page.replace(
        "src=x onerror", ""
    )
    assert "&lt;img" in page


def test_terminal_names_what_failed() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    rows = [_row("single", 1, 1, 1),
            _row("data", 1, 1, 1, status="timeout", reason="not finished")]
    for part in comparison(rows, 160):
        console.print(part)
    text = console.export_text()
    assert "timeout: not finished" in text and "1.70× [1.60, 1.80]" not in text.split("case")[0]


def test_tints() -> None:
    found = [tint(x) for x in (None, 0.5, 1.0, 1.3, 9.0)]
    assert found == ["", "slower", "tint1", "tint2", "tint5"]


def test_every_column_is_defined_once() -> None:
    assert len(BY_NAME) == len(COLUMNS)
    assert all(metric.definition for metric in BY_NAME.values())
    assert COLUMNS[:3] == ("run_id", "case_id", "status") and COLUMNS[-1] == "warnings"
    assert BY_NAME["step_time_s"].show(None) == ""
    assert BY_NAME["step_time_s"].show(0.0123) == "12.3 ms"


def test_narrow_terminals_keep_the_grid_whole() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    for part in comparison([_row("single", 1, 1, 1), _row("data", 1, 1, 1)], 80):
        console.print(part)
    text = console.export_text()
    assert "1.70× [1.60, 1.80]" in text and "…" not in text and "in 130 columns" in text
