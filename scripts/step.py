"""One step of the set-up in a plain line: what it does, how long it has taken and still will.

    python scripts/step.py [--usual SECONDS] [--instead WORDS] "What it does" LOG COMMAND...

The command's own words go to LOG. They are shown where it fails, since then somebody has to read
them; an installer's warnings about package indexes, which nobody can act on, are not. What is left
is told from the last percentage that the command has said (``[ 45%]``, as of CMake), or else from
what the step usually takes on two cores. Ends with the command's exit code. With ``--instead`` a
command that fails is no error: the line then says what happens in its place.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

LAST_LINES, REFRESH_S = 40, 1.0
TAIL_BYTES, PERCENT = 4096, re.compile(r"\[ *(\d+)%\]")


def main() -> int:
    """Runs the command; returns its exit code."""
    asked = _asked()
    asked.log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with asked.log.open("ab") as stream:
        at = stream.tell()
        started = subprocess.Popen(asked.command, stdout=stream, stderr=subprocess.STDOUT)
        code = _watched(asked, started, Left(asked.log, at, asked.usual, began))
    took = f"{time.monotonic() - began:.0f} s"
    if code and asked.instead:
        print(f"{asked.title}: {asked.instead} (why: {asked.log})", flush=True)
        return 0
    how = "done" if code == 0 else f"FAILED with code {code}"
    print(f"{asked.title}: {how} in {took}", flush=True)
    if code:
        said = asked.log.read_bytes()[at:].decode(errors="replace").splitlines()
        print(*said[-LAST_LINES:], f"All of it: {asked.log}", sep="\n", file=sys.stderr)
    return code


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--usual", type=float, default=0.0)
    parser.add_argument("--instead", default="")
    parser.add_argument("title")
    parser.add_argument("log", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


class Left:
    """Estimates what is left of a step.

    Args:
        log: Where the command's words go.
        at: Where they begin in it, in bytes.
        usual: What the step usually takes, in seconds; 0 if nobody can say.
        began: When it began (``time.monotonic``).
    """

    def __init__(self, log: Path, at: int, usual: float, began: float) -> None:
        self.log, self.at, self.usual, self.began = log, at, usual, began
        self.first: tuple[float, int] | None = None

    def seconds(self, now: float) -> float | None:
        """What is left at ``now``; None if nobody can say."""
        percent = self._percent()
        if percent is not None and self.first is None:
            self.first = now, percent
        if percent is not None and self.first and percent > self.first[1]:
            since, before = self.first
            return (now - since) * (100 - percent) / (percent - before)
        left = self.usual - (now - self.began)
        return left if left > 0 else None

    def _percent(self) -> int | None:
        with self.log.open("rb") as stream:
            stream.seek(max(self.at, stream.seek(0, 2) - TAIL_BYTES))
            said = PERCENT.findall(stream.read().decode(errors="replace"))
        return int(said[-1]) if said else None


def _watched(
    asked: argparse.Namespace, started: subprocess.Popen[bytes], left: Left
) -> int:
    """Waits; on a terminal the line counts the seconds, elsewhere it stands once."""
    live = sys.stdout.isatty()
    if not live:
        about = f" (about {asked.usual:.0f} s)" if asked.usual else ""
        print(f"{asked.title}{about} ...", flush=True)
    while True:
        try:
            code = started.wait(REFRESH_S)
        except subprocess.TimeoutExpired:
            if live:
                print(f"\r\033[K{_line(asked.title, left)}", end="", flush=True)
            continue
        if live:
            print("\r\033[K", end="")
        return code


def _line(title: str, left: Left) -> str:
    now = time.monotonic()
    rest = left.seconds(now)
    about = "" if rest is None else f", about {rest:.0f} s left"
    return f"{title} ... {now - left.began:.0f} s{about}"


if __name__ == "__main__":
    sys.exit(main())
