"""The set-up says in plain lines what it does; a program's own words only where it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STEP = Path(__file__).resolve().parents[1] / "scripts" / "step.py"


def _step(log: Path, code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(STEP), "Packages", str(log), sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_step_that_goes_well_is_two_lines_without_its_words(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "setup.log"
    done = _step(log, "import sys; print('WARNING: one'); print('WARNING: two', file=sys.stderr)")
    assert (done.returncode, done.stderr) == (0, "")
    first, last = done.stdout.splitlines()
    assert first == "Packages ..." and last.startswith("Packages: done in ")
    assert {"WARNING: one", "WARNING: two"} <= set(log.read_text().splitlines())


def test_a_step_that_fails_shows_its_own_last_words_and_where_the_rest_is(tmp_path: Path) -> None:
    log = tmp_path / "setup.log"
    log.write_text("of the step before\n")
    done = _step(log, "print(*range(100), sep='\\n'); raise SystemExit(7)")
    assert done.returncode == 7 and "Packages: FAILED with code 7" in done.stdout
    said = done.stderr.splitlines()
    assert said[0] == "60" and said[-2] == "99" and said[-1] == f"All of it: {log}"
    assert "of the step before" not in done.stderr
