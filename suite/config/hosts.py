"""The hosts of a cluster that a user names: on the command line, or in a host file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from suite.contract.errors import UsageError
from suite.contract.hosts import Host

# Open MPI's and Horovod's host files: ``name``, ``name slots=4``, ``name:4``.
LINE = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)"
    r"(?:\s*:\s*(?P<short>\d+)|\s+slots\s*=\s*(?P<long>\d+))?"
    r"(?:\s+max[-_]slots\s*=\s*\d+)?"
)
LONGEST_FILE_BYTES = 1 << 20


def parse_hosts(given: Sequence[str], slots: int) -> tuple[Host, ...]:
    """Returns the hosts with the number of devices on each.

    Args:
        given: ``name`` or ``name:slots`` each, or the path of one host file.
        slots: Devices of a host that says nothing of them.

    Raises:
        UsageError: A host cannot be read, is named twice, or has no slot.
    """
    lines = _lines(given)
    hosts = [_host(line, slots) for line in lines]
    for number, host in enumerate(hosts):
        if host.name in [earlier.name for earlier in hosts[:number]]:
            raise UsageError("--hosts", host.name, "every host once", "add its slots up")
    return tuple(hosts)


def _lines(given: Sequence[str]) -> list[str]:
    if len(given) != 1 or not Path(given[0]).is_file():
        return list(given)
    path = Path(given[0])
    if path.stat().st_size > LONGEST_FILE_BYTES:
        raise UsageError("--hosts", str(path), "a host file, at most 1 MiB", "name the right file")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("--hosts", str(path), "a readable host file", str(error)) from None
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    if not any(lines):
        raise UsageError("--hosts", str(path), "a host file with one host or more",
                         "write a line for each host, such as node1 slots=4")
    return [line for line in lines if line]


def _host(line: str, slots: int) -> Host:
    match = LINE.fullmatch(line.strip())
    count = int(match["short"] or match["long"] or slots) if match else 0
    if not match or count < 1:
        raise UsageError("--hosts", line, "name, name:slots or name slots=4, with one slot or more",
                         "correct it; each host of a list or line of a file is one host")
    return Host(match["name"], count)
