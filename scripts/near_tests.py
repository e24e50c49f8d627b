"""Which tests a mistake in a module should be noticed by, nearest first (``scripts.mutants``)."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

# Real frameworks, real time, or tools of their own: none of them looks at one module.
FAR = ("real", "benchmarks", "gpu", "accuracy", "adapters")
# A whole run of the fake adapter, and what a reader sees of one.
WHOLE = ("tests/measure/test_runner.py", "tests/report/test_page.py", "tests/cli/test_compare.py")
NAMED = re.compile(r"^\s*(?:from|import)\s+(suite[\w.]*)(?:\s+import\s+(.+?))?$", re.MULTILINE)
Tiers = tuple[tuple[str, ...], ...]


def nearest_tests(module: str, root: Path) -> Tiers:
    """The files with tests of a module, such as ``suite/analysis/parity.py``, in five tiers.

    First the file that is named after it, then those that import it, those of its room, those that
    import one of its readers, and last the tests of whole runs. Each file is in one tier.
    """
    room, own = f"tests/{Path(module).parts[1]}/", _dotted(Path(module))
    importing, files = _imports(root), _test_files(root)
    readers = {name for name, found in importing.items() if own in found}
    tiers = (
        (f"{room}test_{Path(module).stem}.py",),
        [path for path in files if path in readers],
        [path for path in files if path.startswith(room)],
        [path for path in files if readers & importing[path]],
        WHOLE,
    )
    left, found = set(files), []
    for tier in tiers:
        found.append(tuple(path for path in tier if path in left))
        left -= set(tier)
    return tuple(found)


@cache
def _imports(root: Path) -> dict[str, frozenset[str]]:
    """What each module of the suite (by dotted name) and each file with tests names of it."""
    modules = (path.relative_to(root) for path in (root / "suite").rglob("*.py"))
    found = {_dotted(path): _named(root / path) for path in modules}
    return found | {path: _named(root / path) for path in _test_files(root)}


@cache
def _test_files(root: Path) -> tuple[str, ...]:
    files = (path.relative_to(root) for path in sorted((root / "tests").rglob("test_*.py")))
    return tuple(str(path) for path in files if path.parts[1] not in FAR)


def _named(path: Path) -> frozenset[str]:
    """``from suite.a import b`` may name the module ``suite.a`` or ``suite.a.b``."""
    text = re.sub(r"\(([^)]*)\)", lambda found: " ".join(found[1].split()), path.read_text())
    names: set[str] = set()
    for package, parts in NAMED.findall(text):
        names.add(package)
        names |= {f"{package}.{part.split()[0]}" for part in parts.split(",") if part.strip()}
    return frozenset(names)


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)
