"""Tables for readers: nothing unescaped, nothing called faster without grounds."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from suite.analysis.comparison import RunComparison
from suite.analysis.contenders import rank
from suite.analysis.ledger import MUST_EQUAL
from suite.cli.app import app
from suite.cli.console import live, print_rows
from suite.contract.metrics import BY_NAME, COLUMNS
from suite.contract.row import Row
from suite.contract.warnings import warn
from suite.measure.progress import Progress
from suite.report import html, payload
from suite.report.axes import column
from suite.report.compared import markdown
from suite.report.doubts import grouped_warnings, proven
from suite.report.headline import headline
from suite.report.html import LIBRARIES, asset, ledger_table, render, tint
from suite.report.matrix import LINES_AT_ONCE, build_grids
from suite.report.payload import build_payload, embed
from suite.report.reproduce import OWN, shared_options
from suite.report.terminal import comparison, machine_rows, verdicts
from tests.planted_run import large_run, small_run

RUN = {
    "run_id": "r", "environment": {"processor": "<b>chip</b>", "cores": 2, "gpus": 0},
    "configuration": {"seed": 0, "data": "<script>alert(1)</script>\u2028"},
}


def _row(strategy: str, seconds: float, low: float, high: float, **more: Any) -> Row:
    row = Row(
        case_id=strategy, framework="pytorch", engine="torch", strategy=strategy,
        workload="mlp", size="tiny", device="cpu", devices=2, global_batch=64, status="ok",
        parity="ok", ledger=dict.fromkeys(MUST_EQUAL, "same"),
        launch_step_s=[seconds * x for x in (0.99, 1.0, 1.01, 0.995, 1.005, 1.0)],
        step_time_s=seconds, step_time_ci_low_s=low, step_time_ci_high_s=high,
        speedup=1.7, speedup_ci_low=1.6, speedup_ci_high=1.8,
    )
    return replace(row, **more)


def test_what_pairs_cannot_tell_apart_is_a_tie() -> None:
    # Launches vary alike within a block: only pairing shows that intra_layer is slower.
    noise = [1.0, 1.15, 0.9, 1.05, 0.95, 1.1]
    paired = [_row("data", 1.0, 0.8, 1.3, launch_step_s=noise),
              _row("intra_layer", 1.1, 0.9, 1.4, launch_step_s=[1.1 * x for x in noise])]
    assert "faster than every other" in build_grids(paired)[0].verdict
    turned = replace(paired[1], launch_step_s=[1.1 * x for x in reversed(noise)])
    verdict = build_grids([paired[0], turned])[0].verdict
    assert "the fastest may also be pytorch intra_layer." in verdict and "faster" not in verdict


def test_a_wide_interval_is_no_tie() -> None:
    noise = [1.0, 2.0, 0.5]
    rows = [_row("data", 1.0, 0.5, 2.0, launch_step_s=[1.0, 1.1, 0.9]),
            _row("intra_layer", 1.2, 0.6, 2.4, launch_step_s=[1.2 * x for x in noise])]
    words = "the fastest may also be pytorch intra_layer."
    assert build_grids(rows)[0].headline.claim.endswith(words)
    many = [*rows, *(replace(rows[1], framework=f"f{number}") for number in range(4))]
    words = "f0/torch intra_layer, f1/torch intra_layer or 2 not told apart yet."
    found = build_grids([replace(row, launch_s=2.0, repeats=3) for row in many])[0].headline
    assert found.claim.endswith(words)
    assert found.telling("results/r") == (
        "69 more launches each would tell it from pytorch intra_layer, f0/torch intra_layer or "
        "f1/torch intra_layer, in about 9 min: python -m suite run --resume results/r "
        "--leader-repeats 72"
    )


def test_a_tie_of_everything_is_not_a_list() -> None:
    rows = [_row("data", 1.0, 0.9, 1.1, framework=f"f{number}") for number in range(6)]
    found = build_grids(rows)[0].headline
    assert "as fast to within 5 %: all 5 others" in found.claim and not found.telling("results/r")


def test_clear_lead_is_faster() -> None:
    rows = [_row("single", 2.0, 1.9, 2.1), _row("data", 1.0, 0.9, 1.1)]
    verdict = build_grids(rows)[0].verdict
    assert verdict == (
        "pytorch data is fastest: 1 s [0.9, 1.1] a step, faster than every other case. "
        "Next: pytorch single takes 2.00× [2.00, 2.00] as long."
    )


def test_of_very_many_lines_the_page_shows_the_first_and_the_best() -> None:
    rows = [_row("data", 2.0 - (number == 250), 1, 3, framework=f"f{number}", case_id=f"c{number}")
            for number in range(300)]
    (grid,) = build_grids(rows)
    shown = [name for name, _ in grid.first_lines]
    assert len(grid.lines) == 300 and shown == [
        *(f"f{number}/torch" for number in range(LINES_AT_ONCE)), "f250/torch"]
    page = render(RUN, rows, [])
    assert page.count('<th scope="row">f') == len(shown)
    assert '199 more lines: in <a href="#figures">' in page


def test_libraries_that_differ_are_named() -> None:
    """What no split makes up for is said of rows that compute alike, and only where it is much."""
    def said(*rates: float | None, **more: Any) -> str:
        rows = [_row("data", 1.0 + number, 0.9, 1.1, framework=f"f{number}", matmul_flops_s=rate)
                for number, rate in enumerate(rates)]
        rows[-1].put(more)
        return str(headline(rank(rows)))

    words = "matrix products of one device run at 180 GFLOP/s in f1/torch, 90 GFLOP/s in f0/torch."
    assert words in said(9e10, 1.8e11) and words in said(9e10, 1.8e11, None)
    others = [said(9e10, 1e11), said(9e10, None), said(None, None),
              said(9e10, 1.8e11, dtype="bf16")]
    assert not any("matrix products" in text for text in others)


def test_one_launch_is_never_faster() -> None:
    nan = float("nan")
    rows = [_row("single", 2.0, nan, nan, launch_step_s=[2.0]),
            _row("data", 1.0, nan, nan, launch_step_s=[1.0])]
    assert "cannot show" in build_grids(rows)[0].verdict


def test_rows_of_different_terms_are_named_not_ranked() -> None:
    other = _row("single", 2.0, 1.9, 2.1)
    other.ledger = other.ledger | {"tf32": "on"}
    verdict = build_grids([other, _row("data", 1.0, 0.9, 1.1)])[0].verdict
    assert verdict == (
        "pytorch data has the lowest step time, 1 s [0.9, 1.1]; no other case can be compared "
        "with it. Not comparable with it: pytorch single (tf32 is same against on)."
    )
    cell = build_grids([other, _row("data", 1.0, 0.9, 1.1)])[0].lines[0][1][0]
    assert cell is not None and cell.unranked == "tf32 is same against on"


def test_a_row_with_one_launch_is_no_tie() -> None:
    rows = [_row("data", 1.0, 0.9, 1.1),
            _row("intra_layer", 1.1, math.nan, math.nan, launch_step_s=[1.1]),
            _row("inter_layer", 2.0, 1.9, 2.1)]
    found = build_grids(rows)[0].headline
    assert found.claim.endswith("; the fastest may also be pytorch intra_layer; the other one is "
                                "slower.")
    assert found.support[-1] == "Next: pytorch inter_layer takes 2.00× [2.00, 2.00] as long."


def test_a_best_single_device_says_that_splitting_does_not_pay() -> None:
    rows = [_row("single", 1.0, 0.9, 1.1, devices=1), _row("data", 2.0, 1.9, 2.1)]
    found = build_grids(rows)[0].verdict
    assert "Splitting the work does not pay" in found
    assert "fastest split, pytorch data, takes 2 s [1.9, 2.1], 1.70× [1.60, 1.80] its base" in found
    rows[1] = replace(rows[1], step_time_s=1.01,
                      launch_step_s=[1.0, 1.02, 0.99, 1.01, 1.0, 1.01])
    tie = build_grids(rows)[0].verdict
    assert "does not pay" not in tie and "No split is shown to be faster than one device." in tie
    assert "split" not in build_grids(rows[:1])[0].verdict


def test_nothing_finished_is_said() -> None:
    rows = [_row("data", 1, 1, 1, status="failed", reason="planted")]
    assert build_grids(rows)[0].verdict == "Nothing has finished yet."
    assert "Nothing has finished yet." in render(RUN, [], [])


def test_a_grid_a_number_of_devices_with_the_same_bases() -> None:
    rows = [_row("single", 1, 1, 1, devices=1), _row("data", 1, 1, 1),
            _row("data", 1, 1, 1, devices=4, case_id="data4"),
            _row("inter_layer", 1, 1, 1, variant="gpipe"),
            _row("inter_layer", 1, 1, 1, variant="1f1b", case_id="1f1b")]
    two, four = build_grids(rows)
    assert two.strategies == ["single", "data", "inter_layer gpipe", "inter_layer 1f1b"]
    assert four.strategies == ["single", "data"] and "4 cpu devices" in four.title
    assert [row.case_id for row in four.rows] == ["single", "data4"]


def test_a_kind_of_warning_is_one_line() -> None:
    rows = [_row("single", 1, 1, 1, warnings=[warn("oversubscribed", what="core"),
                                              warn("noisy", share=0.2, limit=0.1)]),
            _row("data", 1, 1, 1, warnings=[warn("oversubscribed", what="core"),
                                            warn("noisy", share=0.3, limit=0.1)])]
    first, second = grouped_warnings(rows)
    assert first == ("oversubscribed: several devices share a core, so no speedup is given; "
                     "ask for fewer --devices", "all cases")
    assert second == ("noisy: steps vary by … of their mean, more than 10%; "
                      "close other programs on this machine",
                      "pytorch single 20%, pytorch data 30%")
    assert build_grids(rows)[0].lines[0][1][0].note == "oversubscribed; noisy"  # type: ignore[union-attr]


def test_page_escapes_and_stands_alone() -> None:
    bad = _row("data", 1, 1, 1, status="failed", reason="<img src=x onerror=alert(1)>")
    losses = [{"case_id": "single", "step": 0, "loss": 1.0, "reference_loss": 1.0}]
    page = render(RUN, [_row("single", 1, 1, 1), bad], losses)
    ours = page
    for library in LIBRARIES:
        ours = ours.replace(asset(library), "")
    assert "<script>alert" not in ours and "<img" not in ours and "<b>chip" not in ours
    assert "\u2028" not in ours.split('id="data"')[1] and "&lt;img" in ours
    # Whatever could fetch: an address, an attribute with one, an import, a request.
    for sign in ("://", "src=", "@import", "url(", "fetch(", "XMLHttp", "import(", "<link"):
        assert sign not in ours.replace("src=x onerror", ""), sign
    assert re.findall(r'href="(?!#)', ours) == [] and "sourceMappingURL" not in page


def test_libraries_ask_for_nothing() -> None:
    known = {"http://www.w3.org", "https://d3js.org"}  # namespaces, and a comment
    for library in LIBRARIES:
        found = set(re.findall(r"https?://[^/\"'\s]+", asset(library)))
        assert found <= known, library
        licence = Path(html.__file__).parent / "page" / library.replace(".min.js", ".LICENSE")
        assert licence.read_text().strip()


def test_the_page_of_a_run_is_small_and_quick() -> None:
    run = small_run()
    rows = run.rows()[:16]
    render(run.run, rows, run.losses, run.links, run.fits)
    began = time.perf_counter()
    page = render(run.run, rows, run.losses, run.links, run.fits)
    took = time.perf_counter() - began
    print(f"16 cases: {took:.3f} s, {len(page) / 1e6:.2f} MB")
    assert len(page) < 3e6 and took < 0.3


def test_json_in_the_page_is_data_alone() -> None:
    evil = "</script>&\u2028\u2029"
    text = str(embed({"a": [evil, 1.5, None]}))
    assert json.loads(text) == {"a": [evil, 1.5, None]}
    assert not set("<>&\u2028\u2029") & set(text)
    with pytest.raises(ValueError, match="JSON"):
        embed(math.nan)


def test_page_does_not_grow_with_steps() -> None:
    short, long = (large_run(8, launches=3, steps=steps) for steps in (100, 4000))
    sizes = [len(render(run.run, run.rows(), run.losses)) for run in (short, long)]
    assert sizes[1] - sizes[0] < 20_000


def test_ten_thousand_cases_fit_fifteen_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the bytes a case, with as few samples a case as so many leave room for."""
    monkeypatch.setattr(payload, "STEPS_AT_MOST", 0)
    monkeypatch.setattr(payload, "DEVICES_AT_MOST", 0)
    small, large = (large_run(count, launches=2, steps=60) for count in (500, 800))
    sizes = [len(render(run.run, run.rows(), ())) for run in (small, large)]
    each = (sizes[1] - sizes[0]) / 300
    whole = sizes[0] + 9_500 * each + payload.LOSSES_AT_MOST * 30
    print(f"{each:.0f} bytes a case, {whole / 1e6:.1f} MB")
    assert whole < 15e6


def test_shares_over_time_are_in_the_page_and_bounded() -> None:
    run = small_run()
    record = run.results[1].good[0][0]
    record.shares = [[64, 64]] * 600 + [[86, 42]] * 400
    record.share_busy_seconds = [[0.1, 0.2]] * 600 + [[0.12, 0.13]] * 399
    run.results[1].case = replace(run.results[1].case, balance="dynamic")
    rows = run.rows()
    found = build_payload(run.run, rows, [], [], [], [])["shares"]
    (one,) = [shares for shares in found if shares]
    assert len(one["steps"]) == 400 and one["steps"][-1] == 998
    assert one["shares"][0] == [64, 64] and one["shares"][-1] == [86, 42]
    assert one["kind"] == "samples"
    assert one["busy"][0] == [0.1, 0.2]
    assert found.index(one) == 1 and column(rows[1]).endswith("dynamic")


def test_stages_over_time_are_told_from_shares_and_the_row_has_the_last_cut() -> None:
    run = small_run()
    result = next(one for one in run.results if one.case.strategy == "inter_layer")
    record = result.good[0][0]
    record.shares = [[3, 2]] * 30 + [[4, 1]] * 40
    record.share_busy_seconds = [[0.02, 0.04]] * 30 + [[0.027, 0.026]] * 40
    result.case = replace(result.case, balance="dynamic")
    rows = run.rows()
    (one,) = [shares for shares in build_payload(run.run, rows, [], [], [], [])["shares"] if shares]
    assert one["kind"] == "units" and one["shares"][-1] == [4, 1]
    assert [row.cut_found for row in rows if row.cut_found] == ["4,1"]


def test_the_command_of_a_case_is_one_the_suite_takes() -> None:
    run = small_run()
    row = next(row for row in run.rows() if row.variant)
    own = [word for name in OWN for word in (f"--{name}", str(row.value(name)))]
    words = own + shlex.split(shared_options(run.run["configuration"]))
    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    parsed = command.make_context("run", words, resilient_parsing=False).params
    assert parsed["variant"] == ["gpipe"] and parsed["steps"] == 20
    assert shared_options({"data": "it's mine.npz", "seed": None}) == "--data 'it'\"'\"'s mine.npz'"


def test_ledger_names_what_differs_within_a_workload() -> None:
    run = small_run()
    rows = run.rows()
    table = {name: (held, values) for name, held, values in ledger_table(rows, build_grids(rows))}
    assert "global_batch" not in table and "framework" not in table
    held, values = table["tf32"]
    assert held and values[1] == ("on", "tensorflow data (gpt small)")
    assert table["onednn"] == (
        False, [("off", "pytorch, horovod/torch"), ("on", "tensorflow, horovod/tensorflow")]
    )


def test_terminal_names_what_failed() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    rows = [_row("single", 1, 1, 1),
            _row("data", 1, 1, 1, status="timeout", reason="not finished")]
    for part in comparison(rows, 160, "results/r"):
        console.print(part)
    text = console.export_text()
    assert "timeout: not finished" in text and "1.70× [1.60, 1.80]" not in text.split("case")[0]


def test_how_many_cases_are_proven() -> None:
    rows = [_row("single", 1, 1, 1), _row("data", 1, 1, 1)]
    assert proven(rows).startswith("2 of 2 cases proven") and proven(rows).endswith("float64.")
    hole = _row("data", 1, 1, 1, workload="bert", status="unsupported", parity="skipped",
                reason="emulated nowhere")
    text = " ".join(_printed([*rows, hole], 160).split())
    assert "2 of 3 cases proven" in text and "float64: bert tiny 0 of 1." in text
    assert "unsupported: emulated nowhere" in text
    assert "bert tiny 0 of 1." in render(RUN, [*rows, hole], [])


def test_rows_for_machines_are_plain() -> None:
    rows = [_row("single", 1, math.nan, math.nan, warnings=[warn("oversubscribed", what="core")])]
    found = json.loads(json.dumps(machine_rows(rows), allow_nan=False))
    assert found[0]["step_time_ci_low_s"] is None and found[0]["step_time_s"] == 1
    assert found[0]["warnings"][0]["code"] == "oversubscribed"
    assert verdicts(rows)[0].startswith("mlp tiny, global batch 64, 2 cpu devices: pytorch single")


def test_eighty_columns_hold_a_whole_matrix_with_intervals() -> None:
    rows = small_run().rows()
    text = _printed(rows, 80)
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    for part in ("[1.80, 1.85]", "exp 8 % L 1.01", "timeout", "not ranked", "166 ms *"):
        assert part in text, part
    assert "1.84× [1.80, 1.85]" in _printed(rows, 120)


def test_no_colour_where_nobody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [_row("single", 1, 1, 1), _row("data", 1, 1, 1, status="failed", reason="x")]
    piped = Console(file=io.StringIO())
    piped.print(*comparison(rows, 80, "results/r"))
    assert "\x1b" not in piped.file.getvalue()  # type: ignore[attr-defined]
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Console(file=io.StringIO(), force_terminal=True)
    plain.print(*comparison(rows, 80, "results/r"))
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain.file.getvalue())  # type: ignore[attr-defined]


def _printed(rows: list[Row], width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    for part in comparison(rows, width, "results/r"):
        console.print(part)
    return console.export_text()


EVIL = "[red]x[/red] :bomb: [link=http://e]y[/link]"


def test_a_terminal_reads_no_markup(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [_row("single", 1, 1, 1, workload=EVIL), _row("data", 1, 1, 1, workload=EVIL),
            _row("data", 1, 1, 1, devices=4, status="failed", reason=EVIL, workload=EVIL,
                 case_id="data4")]
    print_rows(rows, tmp_path)
    text = " ".join(capsys.readouterr().out.split())
    assert f"{EVIL} tiny, global batch 64, 2 cpu devices" in text
    assert f"Scaling: {EVIL} tiny" in text and f"failed: {EVIL}" in text
    with live(Console(file=io.StringIO(), force_terminal=True)) as show:
        show(Progress(EVIL, 0, 1, None))  # an unopened tag would be an error


def test_a_pull_request_reads_no_markup() -> None:
    evil = "<img src=x>|`a` *b* [c](http://e) @somebody\n# d"
    found = RunComparison(evil, "after", [], [evil], [], [])
    text = markdown(found, [])
    assert "<img" not in text and "@somebody" not in text and "\n#" not in text
    assert not re.search(r"(?<!\\)\]\(", text) and "&lt;img src=x&gt;\\|\\`a\\`" in text


def test_tints() -> None:
    found = [tint(x) for x in (None, 0.4, 0.7, 0.9, 1.0, 1.3, 9.0)]
    assert found == ["", "slower3", "slower2", "slower1", "tint1", "tint2", "tint5"]
    assert tint(2.0, devices=4) == "tint2" and tint(4.0, devices=4) == "tint5"


def test_every_column_is_defined_once() -> None:
    assert len(BY_NAME) == len(COLUMNS)
    assert all(metric.definition for metric in BY_NAME.values())
    assert COLUMNS[:3] == ("run_id", "case_id", "status") and COLUMNS[46] == "warnings"
    assert BY_NAME["step_time_s"].show(None) == ""
    assert BY_NAME["step_time_s"].show(0.0123) == "12.3 ms"


def test_narrow_terminals_keep_the_grid_whole() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    for part in comparison([_row("single", 1, 1, 1), _row("data", 1, 1, 1)], 80, "results/r"):
        console.print(part)
    text = console.export_text()
    assert "1.70× [1.60, 1.80]" in text and "…" not in text and "of 130 columns" in text


def test_the_page_runs_its_own_scripts_alone() -> None:
    """Every script that may run is in the policy by its digest, and none by a general leave."""
    page = html.render(RUN, [], [])
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    directives = dict(part.strip().split(" ", 1) for part in policy[1].replace("&#39;", "'")
                      .split(";"))
    assert directives["default-src"] == "'none'" and "unsafe" not in directives["script-src"]
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    assert len(digests) == len(LIBRARIES) + 1
    assert directives["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
