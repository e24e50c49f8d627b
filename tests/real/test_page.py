"""The page in a real browser: headless Chromium, offline, wide and narrow."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from suite.cli.app import app
from suite.report.html import render
from tests.planted_run import large_run, small_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]
WIDTHS = [375, 1440]
CHARTS = ("why", "spread", "communication", "load", "proof", "link")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with two workloads, two device counts and a fault of each kind."""
    run = small_run((2, 4))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(run.run, run.rows(), run.losses, run.links, run.fits))
    return path


class Watched:
    """An open page, and what it should never do: complain, or ask for anything."""

    def __init__(self, browser: Any, path: Path, width: int, scheme: str = "light") -> None:
        self.page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector(".tabulator-row")

    def close(self, path: Path) -> None:
        """Fails on anything but the file itself."""
        self.page.close()
        assert self.problems == []
        assert [url for url in self.requests if not url.startswith(("data:", "blob:"))] == [
            path.as_uri()
        ]


@pytest.mark.parametrize("width", WIDTHS)
def test_everything_is_drawn_within_the_width(browser: Any, file: Path, width: int) -> None:
    watched = Watched(browser, file, width)
    page = watched.page
    for name in (*CHARTS, "scaling"):
        page.wait_for_selector(f"#{name} svg", state="attached")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    overflow = page.evaluate(
        "[...document.querySelectorAll('figure svg')].filter("
        "svg => svg.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert overflow == 0
    # The answer is on the first screen.
    assert page.locator(".claim").first.bounding_box()["y"] < 400
    watched.close(file)


def test_the_parts_of_a_step_add_up_on_the_page(browser: Any, file: Path) -> None:
    watched = Watched(browser, file, 1440)
    worst = watched.page.evaluate(
        "Math.max(...DATA.parts.map((parts, row) => parts ? "
        "Math.abs(parts.reduce((a, b) => a + b) / value('step_time_s', row) - 1) : 0))"
    )
    assert worst < 1e-4
    watched.close(file)


@pytest.mark.parametrize("width", [pytest.param(WIDTHS[0], marks=pytest.mark.long), WIDTHS[1]])
def test_sorts_and_filters(browser: Any, file: Path, width: int) -> None:
    watched = Watched(browser, file, width)
    page = watched.page
    shown = "Tabulator.findTable('#table')[0].getRows('active').map(row => row.getData())"
    page.locator('.tabulator-col[tabulator-field="name"] .tabulator-col-title').click()
    found = [row["name"] for row in page.evaluate(shown)]
    assert found == sorted(found, key=str.lower) and len(found) == 56
    page.fill("#search", "timeout")
    page.wait_for_function("document.getElementById('count').textContent.startsWith('1 of')")
    assert [row["status"] for row in page.evaluate(shown)] == ["timeout"]
    page.fill("#search", "")
    page.evaluate("Tabulator.findTable('#table')[0].setHeaderFilterValue('step_time_s', '<0.05')")
    times = [row["step_time_s"] for row in page.evaluate(shown)]
    assert times and max(times) < 0.05
    page.locator("#columns summary").click()
    page.locator("#columns").get_by_label("alpha", exact=True).uncheck()
    assert not page.evaluate(
        "Tabulator.findTable('#table')[0].getColumn('alpha_s_per_byte').isVisible()"
    )
    watched.close(file)


@pytest.mark.parametrize("width", [WIDTHS[0], pytest.param(WIDTHS[1], marks=pytest.mark.long)])
def test_a_case_opens_by_keyboard_and_says_all(browser: Any, file: Path, width: int) -> None:
    watched = Watched(browser, file, width)
    page = watched.page
    page.select_option("#pick select", index=0)
    cell = page.locator(".grid:not([hidden]) [data-case]", has_text="not ranked")
    cell.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    text = dialog.inner_text()
    assert "tensorflow data" in text and "not_comparable" in text
    assert "run both with the same settings" in text
    assert "python -m suite run --framework tensorflow --strategy data --workload gpt" in text
    assert dialog.locator("tr.forbids th").all_inner_texts() == ["tf32"]
    dialog.locator("summary", has_text="as numbers").click()
    assert len(dialog.locator("details[open] pre").inner_text().split()) == 120
    assert "#case=tensorflow.data.gpt-small.cpu2" in page.url
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0 and "#case" not in page.url
    page.locator(".tabulator-row button", has_text="pytorch data").first.focus()
    page.keyboard.press("Enter")
    assert "pytorch data" in page.locator("dialog[open] h2").inner_text()
    watched.close(file)


def test_a_case_says_the_command_that_runs_it_alone(browser: Any, file: Path) -> None:
    watched = Watched(browser, file, 1440)
    commands = watched.page.evaluate("DATA.names.map((_, row) => commandText(row))")
    quoted = watched.page.evaluate("""quoted("it's <mine>.npz")""")
    assert shlex.split(quoted) == ["it's <mine>.npz"]
    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    for text in commands:
        words = shlex.split(text)
        assert words[:4] == ["python", "-m", "suite", "run"]
        command.make_context("run", words[4:], resilient_parsing=False)
    assert any("--variant gpipe --workload gpt --size small" in text for text in commands)
    watched.close(file)


def test_an_address_opens_its_case(browser: Any, file: Path) -> None:
    page = browser.new_page()
    page.goto(f"{file.as_uri()}#case=pytorch.data.gpt-small.cpu2")
    assert "pytorch data" in page.locator("dialog[open] h2").inner_text()
    page.close()


def test_scaling_stands_between_its_bounds(browser: Any, file: Path) -> None:
    watched = Watched(browser, file, 1440)
    page = watched.page
    # The fastest number of devices is shown first, and the answer is over all of them.
    assert "4 cpu devices" in page.locator(".grid:visible h3").inner_text()
    assert "pytorch data on 4 devices is fastest" in page.locator(".claim").first.inner_text()
    notes = page.locator("#scaling .note").all_inner_texts()
    assert notes[0].startswith("Serial share (Amdahl): pytorch ") and "%" in notes[0]
    table = page.locator("#scaling table").first
    assert "not comparable" in table.locator("tr", has_text="tensorflow data").first.inner_text()
    first = table.locator("tr", has_text="pytorch data").first.inner_text()
    assert re.search(r"\d\.\d\d× \[\d\.\d\d, \d\.\d\d\]\s+\d\d\.\d % \[", first)
    ticks = page.locator('#scaling svg [aria-label="y-axis tick label"] text').all_text_contents()
    assert ticks[:3] == ["1×", "2×", "4×"]  # each doubles the one before
    worst = page.evaluate(
        "Math.max(...DATA.scalings.flatMap(one => one.series.flatMap(series => series.rows.map("
        "row => value('speedup', row) / value('devices', row)))))"
    )
    assert 0.5 < worst < 1.05
    watched.close(file)


def test_another_workload_is_shown(browser: Any, file: Path) -> None:
    watched = Watched(browser, file, 1440)
    page = watched.page
    page.select_option("#pick select", index=0)
    assert "gpt small" in page.locator(".grid:visible h3").inner_text()
    page.select_option("#pick select", index=2)
    assert "mlp wide" in page.locator(".grid:visible h3").inner_text()
    page.wait_for_selector("#why svg")
    assert "dashed: not divided" in page.inner_text("#why .keys")
    assert page.locator('#why svg [stroke-dasharray="3 3"] rect').count() == 1
    watched.close(file)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_theme_follows_the_system_and_the_switch(browser: Any, file: Path, scheme: str) -> None:
    watched = Watched(browser, file, 1440, scheme)
    page = watched.page
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 28)"
    assert page.evaluate(ground) == (light if scheme == "light" else dark)
    page.click("#theme")
    assert page.evaluate(ground) == light and "light" in page.inner_text("#theme")
    page.click("#theme")
    assert page.evaluate(ground) == dark and "dark" in page.inner_text("#theme")
    watched.close(file)


def test_prints_every_matrix_and_no_controls(browser: Any, file: Path) -> None:
    watched = Watched(browser, file, 1440)
    page = watched.page
    page.emulate_media(media="print")
    assert page.locator(".grid:visible").count() == 4
    assert page.locator("nav:visible, #table:visible, #theme:visible").count() == 0
    assert page.locator(".fallback:visible").count() == 1
    assert len(page.pdf()) > 10_000
    watched.close(file)


def test_the_answer_needs_no_script(browser: Any, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert "pytorch data" in page.locator(".claim").first.inner_text()
    assert page.locator("table.matrix:visible").count() == 4
    assert page.locator(".fallback:visible").count() == 1
    context.close()


def test_what_a_user_supplied_stays_text(browser: Any, tmp_path: Path) -> None:
    run = small_run()
    evil = "</script><img src=x onerror='document.title=1'>\u2028"
    run.run["configuration"]["data"] = evil
    rows = run.rows()
    for row in rows:
        row.reason = row.workload = evil
        row.ledger = row.ledger | {evil: evil}
    path = tmp_path / "report.html"
    path.write_text(render(run.run, rows, run.losses, run.links, run.fits))
    watched = Watched(browser, path, 1440)
    watched.page.locator("[data-case]").first.click()
    assert evil.strip() in watched.page.locator("dialog[open] .meta").inner_text()
    watched.page.keyboard.press("Escape")
    watched.page.locator('.tabulator-col[tabulator-field="workload"] input').click()
    watched.page.wait_for_selector(".tabulator-edit-list-item")
    assert "</script>" in watched.page.inner_text(".tabulator-edit-list")
    assert watched.page.locator("img").count() == 0
    watched.close(path)


def test_thousands_of_cases_stay_quick(browser: Any, tmp_path: Path) -> None:
    run = large_run(2000, launches=3, steps=50)
    path = tmp_path / "report.html"
    path.write_text(render(run.run, run.rows(), run.losses, run.links, run.fits))
    watched = Watched(browser, path, 1440)
    page = watched.page
    assert page.locator(".tabulator-row").count() < 100
    took = page.evaluate(
        "() => { const began = performance.now();"
        "Tabulator.findTable('#table')[0].setSort('speedup', 'desc');"
        "return performance.now() - began; }"
    )
    assert took < 2000
    page.select_option("#pick select", index=30)
    assert page.locator(".grid:visible").count() == 1
    watched.close(path)


def test_shares_of_a_balanced_case_are_drawn(browser: Any, tmp_path: Path) -> None:
    run = small_run()
    result = next(one for one in run.results if one.case.case_id == "pytorch.data.mlp-wide.cpu2")
    record = result.good[0][0]
    record.shares = [[64, 64]] * 30 + [[86, 42]] * 40
    record.share_busy_seconds = [[0.02, 0.04]] * 30 + [[0.027, 0.026]] * 40
    record.figures["share_changes"] = 1.0
    result.case = replace(result.case, balance="dynamic")
    path = tmp_path / "balanced.html"
    path.write_text(render(run.run, run.rows(), run.losses, run.links, run.fits))
    watched = Watched(browser, path, 1440)
    watched.page.evaluate(
        "openCase(DATA.shares.findIndex(one => one))"
    )
    dialog = watched.page.locator("dialog[open]")
    assert "began at 64 and 64 samples and ended at 86 and 42" in dialog.inner_text()
    watched.page.wait_for_selector("dialog[open] svg[aria-label='samples of each device by step']")
    watched.page.screenshot(path=str(tmp_path / "shares.png"))
    watched.close(path)
