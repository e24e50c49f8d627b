"""What set-up installs is locked with hashes; an audit that looked nothing up is no success."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.audit import verdict
from scripts.lock_requirements import BY_MACHINE, name_of

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LOCKED = dict(re.findall(r"^([\w.-]+)==(\S+) \\$", LOCK, re.MULTILINE))


def _asked() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line.split("#")[0]) for line in lines if line.split("#")[0].strip()]


def test_every_requirement_is_locked_at_its_version() -> None:
    for asked in _asked():
        if asked.name not in BY_MACHINE:
            assert asked.specifier.contains(LOCKED[canonicalize_name(asked.name)]), asked


def test_every_entry_has_hashes_and_no_other_source() -> None:
    entries = [part for part in re.split(r"\n(?=[\w.-]+==)", LOCK) if "==" in part.split("\n")[0]]
    assert len(entries) == len(LOCKED) > 50
    for entry in entries:
        lines = entry.strip().splitlines()
        assert all(re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}( \\)?", one) for one in lines[1:])
        assert len(lines) > 1
    assert "--index" not in LOCK and "@" not in LOCK and not set(BY_MACHINE) & set(LOCKED)


def test_the_lock_is_closed() -> None:
    """Nothing comes in unhashed beside it: what is locked needs only what is locked."""
    for name in LOCKED:
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # of another platform or Python
            continue
        for text in needed:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert canonicalize_name(requirement.name) in LOCKED, f"{name} needs {text}"


def test_set_up_installs_by_hash() -> None:
    recipe = (ROOT / "scripts/setup.mk").read_text(encoding="utf-8")
    installer, hashed, by_machine = (recipe.index(f"{words}\n") for words in (
        "-m pip install --require-hashes --no-deps -r requirements-uv.lock",
        "$(INSTALL) --require-hashes --no-deps -r requirements.lock",
        "$(INSTALL) -r requirements.txt",
    ))
    assert installer < hashed < by_machine


def test_the_installer_is_locked_at_the_version_that_made_the_locks() -> None:
    lock = (ROOT / "requirements-uv.lock").read_text(encoding="utf-8")
    tools = (ROOT / "requirements-tools.txt").read_text(encoding="utf-8")
    (line,) = re.findall(r"^uv==\S+", tools, re.MULTILINE)
    assert re.findall(r"^[\w.-]+==\S+", lock, re.MULTILINE) == [line]
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", lock)) > 10


@pytest.mark.parametrize(("line", "name"), [
    ("torch==2.13.0", "torch"), ("setuptools<81", "setuptools"), ("# a comment", ""),
    ("pytest==9.1.1  # why", "pytest"), ("wheel", "wheel"), ("", ""),
])
def test_names_of_requirements(line: str, name: str) -> None:
    assert name_of(line) == name


KNOWN = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
CLEAN = {"name": "b", "version": "1", "vulns": []}
SKIPPED = {"name": "c", "version": "1", "skip_reason": "not found"}


@pytest.mark.parametrize(("found", "code", "words"), [
    ([CLEAN], 0, "1 of 1 distributions looked up, 0 known"),
    ([CLEAN, KNOWN], 1, "a 1: PYSEC-1, mended in 2"),
    ([SKIPPED, KNOWN], 1, "NOT AUDITED"),
    ([CLEAN, SKIPPED], 2, "nothing is known of these (not found)"),
    ([], 2, "NOT AUDITED"),
])
def test_an_audit_that_looked_nothing_up_is_no_success(
    found: list[dict], code: int, words: str
) -> None:
    lines, said = verdict(found)
    assert said == code and words in "\n".join(lines)
