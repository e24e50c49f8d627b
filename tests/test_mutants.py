"""The planted mistakes change one place each, the code stays code, and near tests come first."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.mutants import in_order, sample
from scripts.mutations import count_places, mutate
from scripts.near_tests import nearest_tests

ROOT = Path(__file__).resolve().parents[1]
TEXT = """
def grown(a, b):
    if a < b:
        return a + 2
    return b if a else 0.5
"""
NEVER_COMPUTED = """
from typing import Literal
@cache(1)
def small(a: Literal[1], b: int | Literal[2] = None) -> Literal[3]:
    c: Literal[4] = a
    return dumps(c, indent=5)
LONGEST_SECONDS, GRACE_S = 8.0, 9
if TYPE_CHECKING:
    d = 6
if __name__ == "__main__":
    small(7)
"""


def test_each_place_is_changed_once() -> None:
    assert count_places(TEXT) == 6
    changed = [mutate(TEXT, number) for number in range(6)]
    assert len({text for text, _ in changed}) == 6
    assert all(ast.parse(text) and ast.unparse(ast.parse(TEXT)) != text for text, _ in changed)
    said = {what for _, what in changed}
    assert {"3: a < b -> a <= b", "4: a + 2 -> a - 2", "4: 2 -> 3", "5: 0.5 -> 1.5",
            "3: if a < b: -> if not a < b:"} <= said


def test_one_more_of_a_large_number_would_be_none() -> None:
    assert mutate("a = 1e9", 0)[1] == "1: 1000000000.0 -> 2000000000.0"


def test_what_is_never_computed_is_no_place() -> None:
    assert count_places(NEVER_COMPUTED) == 0


@pytest.mark.parametrize(("text", "places"), [
    ("a = self.folder / LOG", 0), ("a = b / 'name'", 0), ("a = seconds / count", 1),
    ("if a == b: pass", 1), ("if a < b: pass", 2), ("if a and b: pass", 1),
    ("SIZE, WAIT_S = 3, 4.0", 2), ("if a is None and b > 1: pass", 4),
])
def test_the_same_mistake_is_not_made_twice(text: str, places: int) -> None:
    assert count_places(text) == places


def test_the_sample_is_drawn_by_its_seed_from_files_and_folders() -> None:
    drawn, places = sample(["suite/analysis"], 7, 3)
    assert drawn == sample(["suite/analysis"], 7, 3)[0] != sample(["suite/analysis"], 7, 4)[0]
    assert len(drawn) == len(set(drawn)) == 7 < places
    own = count_places((ROOT / "suite/analysis/parity.py").read_text())
    every, count = sample(["suite/analysis/parity.py"], 10_000, 0)
    assert len(every) == count == own


def test_near_tests_come_first_and_real_launches_never() -> None:
    tiers = nearest_tests("suite/analysis/rounding.py", ROOT)
    assert tiers[0] == ("tests/analysis/test_rounding.py",)
    assert "tests/analysis/test_parity.py" in tiers[1] + tiers[2]
    files = [path for tier in tiers for path in tier]
    assert len(files) == len(set(files)) and "tests/measure/test_runner.py" in files
    assert not [path for path in files if "/real/" in path]
    seconds = {path: 1.0 + 1.0 / (1 + number) for number, path in enumerate(files)}
    ordered = in_order(tiers, seconds)
    assert ordered[0] == files[0] and ordered.index(tiers[2][-1]) < ordered.index(tiers[2][0])
    slow = dict.fromkeys(files, 60.0)
    assert in_order(tiers, slow) == [path for tier in tiers[:3] for path in tier]


def test_what_imports_a_reader_is_found(tmp_path: Path) -> None:
    for name, text in {
        "suite/a/low.py": "", "suite/b/high.py": "from suite.a import (\n    low,\n)\n",
        "tests/c/test_other.py": "from suite.b.high import thing\n", "tests/c/test_none.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert nearest_tests("suite/a/low.py", tmp_path) == ((), (), (), ("tests/c/test_other.py",), ())


DRIVER = """
import sys
from pathlib import Path
import pytest  # before its forks do
from scripts import mutants
mutants.LEAST_LIMIT_S = 2.0
project, module = Path(sys.argv[1]), "suite/a/sums.py"
count = mutants.count_places((project / module).read_text())
every = [mutants.Mutant(module, number) for number in range(count)]
notes = mutants.Notes(Path(sys.argv[2]), project)
until = mutants.time.monotonic() + float(sys.argv[3])
try:
    usual = mutants._usual_seconds(project, every, notes, until)
    print(sum(mutants._run_all(every, [project], usual, notes, until)), "noticed")
except AssertionError as error:
    sys.exit(str(error))
except mutants.TimeUp:
    print("time is up")
"""
SUMS = """
def twice(x):
    return x * 2
def thrice(x):
    return x * 3
def down(x):
    while x > 0:
        x = x - 1
"""
TESTED = """
from suite.a.sums import down, twice
def test():
    assert twice(2) == 4
    down(3)
"""


FATES = {
    "3: x * 2 -> x / 2": "noticed", "3: 2 -> 3": "noticed",
    "5: x * 3 -> x / 3": "SURVIVED", "5: 3 -> 4": "SURVIVED",
    "7: x > 0 -> x >= 0": "SURVIVED", "7: 0 -> 1": "SURVIVED",
    "8: x - 1 -> x + 1": "noticed", "8: 1 -> 2": "SURVIVED",
}


def _plan(project: Path, tests: str) -> None:
    for name, text in {"suite/a/sums.py": SUMS, "tests/a/test_sums.py": tests}.items():
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text(text)


def _tried(project: Path, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Each mistake in SUMS, in a process that has not imported this suite."""
    notes = project.with_name("notes.jsonl")
    command = [sys.executable, "-c", DRIVER, str(project), str(notes), str(seconds)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _fates(shown: str) -> dict[str, str]:
    lines = [line for line in shown.splitlines() if ".py:" in line]
    return {line.split(":", 1)[1].split("  [")[0]: line.split()[0] for line in lines}


def test_what_no_test_notices_is_named_and_what_never_ends_is_noticed(tmp_path: Path) -> None:
    project = tmp_path / "project"
    _plan(project, TESTED)
    done = _tried(project)
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("1 files with tests take ")
    assert _fates(done.stdout) == FATES, done.stderr
    assert "x * 2 -> x / 2  [tests/a/test_sums.py" in done.stdout
    assert "x - 1 -> x + 1  [time" in done.stdout
    assert last == "3 noticed" and (project / "suite/a/sums.py").read_text() == SUMS
    # A call that ended before the last one, gone on with: without time, and with it.
    notes = tmp_path / "notes.jsonl"
    notes.write_text("".join(notes.read_text().splitlines(keepends=True)[:-1]))
    stopped = _tried(project, 0.0).stdout
    assert stopped.count("noted]") == len(_fates(stopped)) == len(FATES) - 1
    assert stopped.endswith("time is up\n")
    done = _tried(project)
    assert _fates(done.stdout) == FATES and done.stdout.count("noted]") == len(FATES) - 1
    assert done.stdout.splitlines()[-1] == "3 noticed"


def test_tests_that_fail_anyway_are_refused(tmp_path: Path) -> None:
    project = tmp_path / "project"
    _plan(project, "def test():\n    assert 0\nfrom suite.a import sums\n")
    done = _tried(project)
    assert done.returncode == 1 and "mend that first: tests/a/test_sums.py" in done.stderr
