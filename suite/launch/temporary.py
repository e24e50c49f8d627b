"""The folder for temporary files of one launch, and what killed harnesses left of theirs."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from suite.launch.signals import undisturbed

PREFIX, LOCK = "suite-launch-", ".lock"
# Between the making of the lock's file and its locking a folder belongs to nobody for a moment.
YOUNG_SECONDS = 0.3


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Makes a folder, which is removed at the end with what is in it.

    Its lock lives as long as the harness. One that was killed removes nothing, so the next harness
    removes the folders of this kind that nobody holds.
    """
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        with FileLock(folder / LOCK):
            yield folder
    finally:
        with undisturbed():
            shutil.rmtree(folder, ignore_errors=True)


@cache
def _remove_abandoned() -> None:
    """Removes the folders that dead harnesses left; once a process is enough."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    """Tells whether no process holds a folder; another user's folder is not ours to judge."""
    try:
        if time.time() - (folder / LOCK).stat().st_mtime < YOUNG_SECONDS:
            return False
        with FileLock(folder / LOCK, timeout=0):
            return True
    except (OSError, Timeout):
        return False
