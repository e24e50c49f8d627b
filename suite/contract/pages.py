"""Gives a fork the pages that its parent holds, as a process that read and wrote them itself has.

fork(2) copies the page tables of private memory only, and write-protects them. Pages of mapped
files are found again one by one when they are touched: until then a fork seems to need less memory
than a new process, by tens of megabytes. Private pages are copied one by one when they are written,
which Python does at every look at an object: twenty thousand faults somewhere in the first steps.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Iterator
from functools import cache
from io import FileIO
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

# madvise(2), since Linux 5.14: maps pages for reading, or for writing as well.
POPULATE_READ, POPULATE_WRITE = 22, 23
# Bits of a page's entry in /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst): it is
# present, and it belongs to a file.
PRESENT, OF_FILE = np.uint64(1 << 63), np.uint64(1 << 61)
# Mappings of the kernel's own, which cannot be asked for.
KERNELS = ("[vvar", "[vdso]", "[vsyscall]")


class Run(NamedTuple):
    """Pages beside each other: address and length in bytes, and whether they can be written and
    have been.
    """

    begin: int
    length: int
    written: bool


Pages = list[Run]


def own_pages() -> Pages:
    """Lists the pages that this process holds."""
    with Path("/proc/self/pagemap").open("rb", buffering=0) as entries:
        spans = list(_private_mappings())
        return [Run(begin, length, private and writable) for start, end, writable in spans
                for begin, length, private in _present(entries, start, end)]


def hold(pages: Pages) -> None:
    """Maps these pages: those of files for reading, private ones as copies of its own.

    Pages that have been given back since they were listed are left out.

    Raises:
        OSError: The kernel cannot, as before Linux 5.14.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for begin, length, written in pages:
        failed = libc.madvise(begin, length, POPULATE_WRITE if written else POPULATE_READ)
        if failed and ctypes.get_errno() != errno.ENOMEM:
            reason = os.strerror(ctypes.get_errno())
            raise OSError(ctypes.get_errno(), f"madvise(MADV_POPULATE_READ): {reason}")


@cache
def forking_problem() -> str:
    """Says what this machine lacks to make forks like new processes; empty if nothing."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return "Linux"
    try:
        os.close(os.pidfd_open(os.getpid()))
        hold(own_pages()[:1])
    except OSError as error:
        return f"Linux 5.14 or later ({error.strerror})"
    return ""


def _private_mappings() -> Iterator[tuple[int, int, bool]]:
    """Lists the private mappings that can be read.

    Yields:
        First address, the one after the last, and whether it can be written.
    """
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, rights, _, _, _, *path = line.split(maxsplit=5)
        if rights.startswith("r") and rights.endswith("p") \
                and not (path and path[0].startswith(KERNELS)):
            begin, end = span.split("-")
            yield int(begin, 16), int(end, 16), "w" in rights


def _present(entries: FileIO, begin: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Lists the runs of pages in a mapping that are present.

    Yields:
        Address, length, and whether they are this process's own copies.
    """
    size = mmap.PAGESIZE
    count = (end - begin) // size
    entries.seek(begin // size * 8)
    found = np.frombuffer(entries.read(8 * count), np.uint64)
    there, written = (found & PRESENT) != 0, (found & OF_FILE) == 0
    place = begin
    for (present, private), group in groupby(zip(there.tolist(), written.tolist(), strict=True)):
        length = sum(1 for _ in group) * size
        if present:
            yield place, length, private
        place += length
