"""Every command in the README and the guides can be typed as it stands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from scripts.refresh_docs import BLOCK, sample_table
from suite.contract.workloads import WORKLOADS, parameter_count
from tests.command import suite_command
from tests.synthetic import DATA, make_run

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text()
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


def _commands(text: str) -> list[str]:
    return [line.partition("#")[0].strip() for line in text.splitlines()
            if line.startswith("python -m suite ")]


LINES = _commands(TEXT)
GUIDED = [line for guide in GUIDES for line in _commands(guide.read_text())]
# What measures for minutes is only parsed.
LONG = ("link", "ab", "selftest")
SLOWER = 3  # what the planted slowdown ends with, under --fail-on


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files and folders that the README's examples name."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "results" / "sample", folder / "results" / "sample")
    shutil.copytree(ROOT / "examples" / "tabular_resnet", folder / "tabular_resnet")
    for number, name in enumerate(("interrupted", "before", "after")):
        seconds = 0.006 * (1.2 if name == "after" else 1.0)
        make_run(folder / "results" / name, {DATA.case_id: seconds}, number, link=False)
    random = np.random.default_rng(0)
    features, targets = random.normal(size=(400, 64)), random.integers(0, 10, 400)
    np.savez(folder / "mine.npz", features=features.astype(np.float32), targets=targets)
    (folder / "my.toml").write_text('steps = 50\nframework = ["pytorch"]\n')
    for name in ("before", "after"):
        _run(folder, ["report", f"results/{name}", "--export-pytest-benchmark", f"{name}.json"])
    return folder


def _run(folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return suite_command(*arguments, folder=folder)


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_every_size_stands_with_its_parameters(name: str) -> None:
    sizes = (f"`{size}` {parameter_count(spec):,}" for size, spec in WORKLOADS[name].items())
    assert f"| `{name}` | {', '.join(sizes)} |" in TEXT


def test_the_first_table_is_the_sample() -> None:
    """``make docs`` writes it."""
    shown = BLOCK.search(TEXT)
    assert shown and shown.group() == sample_table()


def test_every_command_is_shown() -> None:
    from suite.cli.app import app

    names = {command.name or command.callback.__name__ for command in app.registered_commands
             if command.callback}
    assert {shlex.split(line)[3] for line in LINES} == names


@pytest.mark.parametrize("line", dict.fromkeys([*LINES, *GUIDED]))
def test_examples(place: Path, line: str) -> None:
    arguments = shlex.split(line)[3:]
    command = arguments[0]
    if command in LONG or {"--calibrate", "--rehearse"} & set(arguments):
        arguments.append("--help")
    elif command == "run" and "--resume" not in arguments and "--dry-run" not in arguments:
        arguments.append("--dry-run")
    before = {path.name for path in (place / "results").iterdir()}
    done = _run(place, arguments)
    wanted = SLOWER if "--fail-on" in arguments and command not in LONG else 0
    # More devices than the example's machine has are a matter of the machine, not of the text.
    assert done.returncode == wanted, done.stdout + done.stderr
    assert {path.name for path in (place / "results").iterdir()} == before


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_guides_name_what_exists(guide: Path) -> None:
    text = guide.read_text()
    assert _commands(text) and guide.name in TEXT
    files = re.findall(r"`((?:adapters|docs|examples|tests)/[\w./]+)`", text)
    assert all((ROOT / name).exists() for name in files)


DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATH = re.compile(r"`((?:suite|adapters|tests|scripts|examples|docs)/[\w./<>*-]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_documents_name_paths_that_exist(document: Path) -> None:
    named = PATH.findall(document.read_text(encoding="utf-8"))
    patterns = {name: re.sub(r"<[^>]*>", "*", name).rstrip("./") for name in named}
    assert [name for name, pattern in patterns.items() if not any(ROOT.glob(pattern))] == []


LINK = re.compile(r"\]\(([^)#\s]*)#?([^)\s]*)\)")


def _anchors(document: Path) -> set[str]:
    """The names that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    wrong = []
    for name, anchor in links:
        target = document.parent / name if name else document
        if name.startswith("http"):
            continue
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            wrong.append(f"{name}#{anchor}")
    assert wrong == []


def test_options_of_the_table_exist() -> None:
    import typer

    from suite.cli.app import app

    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    table = TEXT.partition("| option of `run` |")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines()
             for name in re.findall(r"`(--[a-z-]+)", line.split("|")[1])} if table else set()
    assert named and named <= known
    assert known - named <= {"--config", "--dtype", "--link"}
