"""The matrix of installs: which versions a row asks for, and how its rows come into the table."""

from __future__ import annotations

import symtable
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from scripts import install_matrix
from scripts.install_matrix import HEAD, INSTALLS, PAGE, TABLE, Found, requirements, table


def _found(python: str, versions: str = "pinned", **statuses: int) -> Found:
    return Found(python, "torch", versions, 0, Counter(statuses), [], "", "torch 2.0")


@pytest.mark.parametrize(("versions", "wanted"), [
    ("pinned", "numpy==2.4.6"), ("newest", "numpy<=2.4.6"), ("before", "numpy<2.4.6"),
])
def test_versions_of_a_row(
    versions: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.txt").write_text(
        "# pinned\nsetuptools<81\nnumpy==2.4.6\ntorch==2.13.0\npytest==9.1.1  # why\n"
    )
    monkeypatch.setattr(install_matrix, "ROOT", tmp_path)
    found = requirements(INSTALLS["tensorflow"], versions)
    assert found == ["tomli>=2; python_version < '3.11'", "setuptools<81", wanted]


def test_the_pinned_ones_are_all_that_the_project_pins() -> None:
    assert {"numpy", "torch", "tensorflow-cpu"} <= {
        one.partition("==")[0] for one in requirements(())
    }


def _without_environments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows have a folder each in place of an environment."""
    monkeypatch.setattr(install_matrix, "PLACE", folder)
    monkeypatch.setattr(install_matrix, "make_environment", lambda _p, place: place.mkdir())


def test_horovod_can_be_built_with_what_a_row_of_all_installs() -> None:
    """Its build takes what is installed instead of fetching it (``--no-build-isolation``)."""
    names = {one.partition("<")[0].partition("=")[0] for one in requirements(INSTALLS["all"])}
    assert {"setuptools", "wheel", "packaging", "cmake"} <= names


def test_a_row_of_all_builds_horovod_and_the_others_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an installer that does nothing, and a builder that is seen."""
    built: list[str] = []
    _without_environments(tmp_path, monkeypatch)
    monkeypatch.setattr(install_matrix, "installing", lambda _p, _a: ([sys.executable, "-c", ""],
                                                                      None))
    monkeypatch.setattr(install_matrix, "build_horovod", lambda own: built.append(own.parts[-3]))
    monkeypatch.setattr(install_matrix, "run", lambda own, *of: Found(*of, 0, Counter(), [], ""))
    version = "{}.{}".format(*sys.version_info[:2])
    for name in INSTALLS:
        found = install_matrix.install(sys.executable, name, "pinned")
        assert (found.python, found.name, found.versions) == (version, name, "pinned")
        assert (tmp_path / f"{version}-{name}-pinned" / "ready").exists()
    assert built == [f"{version}-all-pinned"]


def test_an_install_that_cannot_be_made_is_a_row_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; print('note\\n  × No solution found: no wheel', file=sys.stderr); exit(1)"
    _without_environments(tmp_path, monkeypatch)
    monkeypatch.setattr(install_matrix, "installing", lambda _p, _a: ([sys.executable, "-c", code],
                                                                      None))
    found = install_matrix.install(sys.executable, "torch", "before")
    assert not found.as_it_should_be and found.code == 1
    assert "No solution found: no wheel" in found.line()


def test_a_row_takes_the_place_of_the_one_alike() -> None:
    before = [_found("3.11", ok=4).line(), _found("3.12", ok=4).line()]
    rows = table([_found("3.12", ok=3, failed=1), _found("3.12", "newest", ok=4)], before)
    assert rows.splitlines()[2:] == [
        before[0],
        f"| 3.12 | torch | newest | torch 2.0 | {date.today():%Y-%m-%d} | 0 | 4 | 0 | 0 |  |",
        f"| 3.12 | torch | pinned | torch 2.0 | {date.today():%Y-%m-%d} | 0 | 3 | 0 | 1 |  |",
    ]


def test_each_row_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An install that breaks the command off leaves the rows before it."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{HEAD}\n|---|\n{_found('3.9', ok=1).line()}\nafter\n")
    monkeypatch.setattr(install_matrix, "PAGE", page)
    made = iter([_found("3.11", ok=4)])
    monkeypatch.setattr(install_matrix, "install", lambda *_: next(made))
    monkeypatch.setattr(sys, "argv", ["installs", "--only", "torch", "--python", "a,b", "--write"])
    with pytest.raises(StopIteration):
        install_matrix.main()
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert [line[:7] for line in text.splitlines()[3:5]] == ["| 3.11 ", "| 3.9 |"]


def test_the_page_has_the_table() -> None:
    (found,) = TABLE.findall(PAGE.read_text(encoding="utf-8"))
    assert found.startswith(HEAD) and len(found.splitlines()) > 3


@pytest.mark.parametrize(("statuses", "reasons", "well"), [
    ({"ok": 4, "unsupported": 2}, ["horovod is not installed: make run installs it"], True),
    ({"ok": 4, "failed": 1}, [], False), ({"unsupported": 2}, ["a: b"], False),
    ({"ok": 4, "unsupported": 2}, ["it cannot be done"], False),
])
def test_what_is_missing_says_how_to_get_it(
    statuses: dict[str, int], reasons: list[str], well: bool
) -> None:
    found = Found("3.11", "torch", "pinned", 0, Counter(statuses), reasons, "")
    assert found.as_it_should_be == well


def _hidden(table: symtable.SymbolTable) -> Iterator[str]:
    """Yields functions whose comprehensions bind a name that the function has from outside."""
    for inner in table.get_children():
        frees = inner.get_frees() if isinstance(inner, symtable.Function) else ()
        for part in inner.get_children():
            if part.get_name() in ("listcomp", "setcomp", "dictcomp"):
                own = {one.get_name() for one in part.get_symbols()
                       if one.is_local() and not one.is_parameter()}
                yield from (f"{inner.get_name()}: {name}" for name in own & set(frees))
        yield from _hidden(inner)


def test_no_comprehension_hides_a_name_from_outside() -> None:
    """CPython 3.12 and 3.13 then take the outer name for an unbound one."""
    planted = "def a(name):\n def b(of):\n  return [name for name in of], name\n return b\n"
    assert list(_hidden(symtable.symtable(planted, "planted", "exec"))) == ["b: name"]
    for folder in ("suite", "adapters", "scripts"):
        for path in (install_matrix.ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not list(_hidden(symtable.symtable(text, str(path), "exec"))), path
