"""A link of known rate: two network namespaces joined by veth, each end's egress shaped.

What leaves an end is let through by a token bucket (``tc tbf``), which counts Ethernet frames: 1514
bytes of which 1448 are payload. A full bucket lets its first 256 KiB pass unshaped.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FRAME_BYTES, PAYLOAD_BYTES = 1514, 1448
INTERFACE = "shaped0"
HOSTS = Path("/etc/netns")
_numbers = itertools.count()


@dataclass(frozen=True)
class ShapedLink:
    """Rank ``i`` starts through ``prefixes[i]`` and talks over ``interface``."""

    rate_mbit: int
    interface: str
    prefixes: tuple[tuple[str, ...], ...]
    spaces: tuple[str, ...] = ()

    def shape(self, end: int, rate_mbit: int) -> None:
        """Lets what leaves that end through at another rate from now on."""
        _do("tc", "-n", self.spaces[end], "qdisc", "change", "dev", self.interface, "root", "tbf",
            "rate", f"{rate_mbit}mbit", "burst", "256kb", "latency", "50ms")

    def seconds_per_byte(self) -> float:
        """Of payload, one way."""
        return 8.0 / (self.rate_mbit * 1e6) * FRAME_BYTES / PAYLOAD_BYTES


@cache
def why_not() -> str:
    """Empty where namespaces can be joined and shaped here."""
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            return f"{tool} is missing (iproute2)"
    try:
        with shaped_link(100):
            return ""
    except subprocess.CalledProcessError as error:
        return f"{' '.join(error.cmd)}: {error.stderr.strip()}"
    except OSError as error:
        return str(error)


@contextmanager
def shaped_link(rate_mbit: int) -> Iterator[ShapedLink]:
    """Two namespaces for as long as the context lasts; needs root."""
    name = f"shaped-{os.getpid()}-{next(_numbers)}"
    spaces = [f"{name}-{end}" for end in (0, 1)]
    ends = [f"sh{os.getpid() % 100000}{chr(97 + end)}" for end in (0, 1)]
    made: list[str] = []
    try:
        for space in spaces:
            _do("ip", "netns", "add", space)
            made.append(space)
        _do("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for number, (space, end) in enumerate(zip(spaces, ends, strict=True)):
            _set_up(space, end, number + 1, rate_mbit)
        prefixes = tuple(("ip", "netns", "exec", space) for space in spaces)
        yield ShapedLink(rate_mbit, INTERFACE, prefixes, tuple(spaces))
    finally:
        for space in made:
            _do("ip", "netns", "del", space)
            shutil.rmtree(HOSTS / space, ignore_errors=True)


def _set_up(space: str, end: str, host: int, rate_mbit: int) -> None:
    # Two hosts know their own names by their own addresses; ``ip netns exec`` mounts this file.
    (HOSTS / space).mkdir(parents=True)
    (HOSTS / space / "hosts").write_text(
        f"127.0.0.1 localhost\n10.200.0.{host} {socket.gethostname()}\n"
    )
    _do("ip", "link", "set", end, "netns", space, "name", INTERFACE)
    inside = ("ip", "-n", space)
    _do(*inside, "addr", "add", f"10.200.0.{host}/24", "dev", INTERFACE)
    _do(*inside, "link", "set", "lo", "up")
    _do(*inside, "link", "set", INTERFACE, "up")
    _do("tc", "-n", space, "qdisc", "add", "dev", INTERFACE, "root", "tbf",
        "rate", f"{rate_mbit}mbit", "burst", "256kb", "latency", "50ms")


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
