"""A launch's temporary files go with it, those of a harness that was killed with the next one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from suite.launch import temporary
from suite.launch.temporary import LOCK, PREFIX, temporary_folder

HOLD = ("from suite.launch.temporary import temporary_folder\n"
        "import time\n"
        "with temporary_folder() as folder:\n"
        "    print(folder, flush=True); time.sleep(60)\n")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    temporary._remove_abandoned.cache_clear()
    return tmp_path


def _old(folder: Path) -> None:
    for path in (folder, folder / LOCK):
        if path.exists():
            os.utime(path, (time.time() - 100, time.time() - 100))


def test_a_launchs_folder_goes_with_it(room: Path) -> None:
    with temporary_folder() as folder:
        (folder / "cache").mkdir()
        assert folder.parent == room and folder.name.startswith(PREFIX)
    assert not list(room.iterdir())


def test_what_a_killed_harness_left_goes_and_what_a_living_one_holds_stays(room: Path) -> None:
    environment = os.environ | {"TMPDIR": str(room)}
    holders = [subprocess.Popen([sys.executable, "-c", HOLD], env=environment, text=True,
                                stdout=subprocess.PIPE) for _ in range(2)]
    folders = [Path(holder.stdout.readline().strip()) for holder in holders if holder.stdout]
    foreign = room / f"{PREFIX}foreign"  # without a lock it may be anybody's
    foreign.mkdir()
    holders[0].kill()
    holders[0].wait()
    for folder in (*folders, foreign):
        _old(folder)
    began = time.monotonic()
    with temporary_folder():
        assert not folders[0].exists() and folders[1].exists() and foreign.exists()
    # Nobody waits for the one that is held.
    assert time.monotonic() - began < 0.9
    holders[1].kill()
    holders[1].communicate()
    holders[0].communicate()
