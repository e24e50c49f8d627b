"""Gives a fork the pages of files that its parent holds, as a process that read them itself has.

fork(2) copies the page tables of anonymous memory only: pages of libraries and other mapped files
are found again one by one when they are touched. Until then a fork seems to need less memory than a
new process, by tens of megabytes, and its first steps have faults that a new process had earlier.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable, Iterator
from io import FileIO
from itertools import groupby
from pathlib import Path

import numpy as np

# madvise(2), since Linux 5.14: maps pages for reading, without writing to them.
POPULATE_READ = 22
# Of each page's entry in /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst): it is there.
PRESENT = 1 << 63
Run = tuple[int, int]


def pages_of_files() -> list[Run]:
    """The pages of mapped files that this process holds, as address and length in bytes of runs."""
    with Path("/proc/self/pagemap").open("rb", buffering=0) as entries:
        spans = list(_mapped_files())
        return [run for begin, end in spans for run in _present(entries, begin, end)]


def hold(runs: Iterable[Run]) -> None:
    """Maps these pages.

    Raises:
        OSError: The kernel cannot, as before Linux 5.14.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for begin, length in runs:
        if libc.madvise(begin, length, POPULATE_READ):
            raise OSError(ctypes.get_errno(), "madvise(MADV_POPULATE_READ) failed")


def _mapped_files() -> Iterator[Run]:
    """First address, and the one after the last, of each mapping of a file that can be read."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        parts = line.split(maxsplit=5)  # address, rights, offset, device, inode, path
        if len(parts) == 6 and parts[5].startswith("/") and parts[1].startswith("r"):
            begin, end = parts[0].split("-")
            yield int(begin, 16), int(end, 16)


def _present(entries: FileIO, begin: int, end: int) -> Iterator[Run]:
    """Runs of pages in a mapping that are present."""
    size = mmap.PAGESIZE
    count = (end - begin) // size
    entries.seek(begin // size * 8)
    found = np.frombuffer(entries.read(8 * count), np.uint64)
    there = (found & np.uint64(PRESENT)) != 0
    place = begin
    for present, group in groupby(there.tolist()):
        length = sum(1 for _ in group) * size
        if present:
            yield place, length
        place += length
