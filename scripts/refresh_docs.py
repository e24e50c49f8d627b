"""What the documents show of the product, made again: ``python -m scripts.refresh_docs``.

    README.md         the table of results/sample, as `python -m suite report` prints it
    docs/report.png   the page of the planted run in Chromium (playwright; skipped without)

``--sample RUN`` first replaces results/sample by the tables and records of another run.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from suite.report.html import render
from suite.report.terminal import answers
from suite.runfolder.reading import read_run
from tests.planted_run import small_run

ROOT = Path(__file__).resolve().parent.parent
README, SAMPLE, PICTURE = ROOT / "README.md", ROOT / "results/sample", ROOT / "docs/report.png"
WIDTH = 100
BLOCK = re.compile(r"(?<=^```text\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
# Too large for a repository, and made again from the records by any command that reads the run.
LEFT_OUT = shutil.ignore_patterns("samples.sqlite*", "*.npz", ".lock", "*.log")


def sample_table() -> str:
    """Matrix and answer of the sample, as a terminal of ``WIDTH`` columns shows them."""
    console = Console(width=WIDTH, file=io.StringIO(), record=True, markup=False, emoji=False)
    for part in answers(read_run(SAMPLE).rows(), WIDTH):
        console.print(part)
    lines = [line.rstrip() for line in console.export_text().strip().splitlines()]
    return "\n".join(lines) + "\n"


def refresh_readme() -> None:
    text = README.read_text()
    README.write_text(BLOCK.sub(lambda _: sample_table(), text, count=1))
    print(README)


def refresh_picture() -> None:
    """The first screen and the chart below it, light."""
    from playwright.sync_api import sync_playwright

    run = small_run()
    page = render(run.run, run.rows(), run.losses, run.links, run.fits)
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        file.write_text(page)
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = started.new_page(viewport={"width": 1240, "height": 1500}, color_scheme="light")
        tab.goto(file.as_uri())
        tab.wait_for_selector("#why svg")
        tab.screenshot(path=str(PICTURE))
        started.close()
    print(PICTURE)


def replace_sample(run: Path) -> None:
    read_run(run)  # refuses what is no run, before anything is removed
    shutil.rmtree(SAMPLE)
    shutil.copytree(run, SAMPLE, ignore=LEFT_OUT)
    print(SAMPLE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sample", type=Path, help="run folder that becomes results/sample")
    asked = parser.parse_args()
    if asked.sample:
        replace_sample(asked.sample)
    refresh_readme()
    try:
        refresh_picture()
    except ImportError:
        print(f"{PICTURE}: left as it is, playwright is not installed")


if __name__ == "__main__":
    main()
