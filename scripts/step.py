"""One step of the set-up in a plain line: what it does, and how long it has taken.

    python scripts/step.py "What it does" LOG COMMAND [ARGUMENT...]

The command's own words go to LOG. They are shown where it fails, since then somebody has to read
them; pip's warnings about package indexes, which nobody can act on, are not. Ends with the
command's exit code.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

LAST_LINES, REFRESH_S = 40, 1.0


def main() -> int:
    """Runs the command; returns its exit code."""
    title, log, *command = sys.argv[1:]
    path = Path(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with path.open("ab") as stream:
        at = stream.tell()
        started = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        code = _watched(title, started, began)
    took = f"{time.monotonic() - began:.0f} s"
    print(f"{title}: {'done' if code == 0 else f'FAILED with code {code}'} in {took}", flush=True)
    if code:
        said = path.read_bytes()[at:].decode(errors="replace").splitlines()
        print(*said[-LAST_LINES:], f"All of it: {path}", sep="\n", file=sys.stderr)
    return code


def _watched(title: str, started: subprocess.Popen[bytes], began: float) -> int:
    """Waits; on a terminal the line counts the seconds, elsewhere it stands once."""
    live = sys.stdout.isatty()
    if not live:
        print(f"{title} ...", flush=True)
    while True:
        try:
            code = started.wait(REFRESH_S)
        except subprocess.TimeoutExpired:
            if live:
                print(f"\r{title} ... {time.monotonic() - began:.0f} s", end="", flush=True)
            continue
        if live:
            print("\r\033[K", end="")
        return code


if __name__ == "__main__":
    sys.exit(main())
