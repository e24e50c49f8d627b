"""How long a browser takes to open the page of a run of many cases; not a test.

    python -m tests.benchmarks.page [CASES] [PAGE]

10,000 cases by default, or a page that was written before. A headless Chromium opens the file five
times, each in a window of its own. The seconds count from the start of the navigation until the
charts of the first workload and the table of all figures are in the document and a frame with them
was painted.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from suite.report.html import render
from tests.planted_run import large_run

OPENED = 5
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# The second frame after the scripts have run is painted with all that they made.
PAINTED = ("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => "
           "done(performance.now()))))")


def main() -> None:
    """Prints the seconds of each opening, and their median."""
    cases = [int(text) for text in sys.argv[1:] if text.isdecimal()]
    pages = [Path(text) for text in sys.argv[1:] if not text.isdecimal()]
    with tempfile.TemporaryDirectory() as name:
        page = pages[0] if pages else _written(Path(name), (cases or [10_000])[0])
        print(f"page {page.stat().st_size / 1e6:.1f} MB", flush=True)
        took = _opened(page)
    print(f"opened in {', '.join(f'{one:.2f}' for one in took)} s: "
          f"median {statistics.median(took):.2f} s")


def _written(folder: Path, cases: int) -> Path:
    run = large_run(cases, launches=3, steps=20)
    page = folder / "report.html"
    page.write_text(render(run.run, run.rows(), run.losses, run.links, run.fits), encoding="utf-8")
    return page


def _opened(path: Path) -> list[float]:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        took = [_seconds(browser, path) for _ in range(OPENED)]
        browser.close()
    return took


def _seconds(browser: Any, path: Path) -> float:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(path.absolute().as_uri())
    page.wait_for_selector("#table .tabulator-row")
    milliseconds = page.evaluate(PAINTED)
    page.close()
    return float(milliseconds) / 1000


if __name__ == "__main__":
    main()
