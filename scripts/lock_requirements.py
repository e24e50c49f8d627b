"""Writes both locks anew: ``make lock``, after requirements.txt or uv's version has changed.

``requirements.lock`` holds every distribution that requirements.txt brings, at one version, with
the hashes of all its files on PyPI. torch is left out: its version is pinned, but which of its
wheels is right depends on the machine. The CPU builds of PyTorch's own index have other hashes than
the CUDA builds on PyPI, and an installer prefers a file whose hash it knows, so naming PyPI's would
put gigabytes of CUDA on machines without a GPU. What torch alone brings is left out with it.
``requirements-uv.lock`` holds the installer of all that, in the version of requirements-tools.txt.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS, LOCK = ROOT / "requirements.txt", ROOT / "requirements.lock"
TOOLS, UV_LOCK = ROOT / "requirements-tools.txt", ROOT / "requirements-uv.lock"
BY_MACHINE = ("torch",)
HEAD = """# Written by `make lock` from requirements.txt; checked by `make setup`.
# Every file of every version on PyPI, so that any platform finds its own. Without torch:
# scripts/lock_requirements.py says why.
"""
UV_HEAD = """# Written by `make lock` from requirements-tools.txt; checked by `make setup`.
# What installs everything else; without it pip does.
"""


def main() -> None:
    """Entry point; the argument is the program ``uv``."""
    wanted = [line for line in _lines(REQUIREMENTS) if name_of(line) not in BY_MACHINE]
    _lock(REQUIREMENTS, wanted, LOCK, HEAD)
    _lock(TOOLS, [line for line in _lines(TOOLS) if name_of(line) == "uv"], UV_LOCK, UV_HEAD)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _lock(source: Path, wanted: Sequence[str], lock: Path, head: str) -> None:
    done = subprocess.run(
        [sys.argv[1], "pip", "compile", "-", "--generate-hashes", "--no-header", "--no-annotate",
         "--quiet", "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"],
        input="\n".join(wanted), capture_output=True, text=True, check=False,
    )
    if done.returncode:
        sys.exit(f"uv could not resolve {source.name}:\n{done.stderr}")
    lock.write_text(head + done.stdout, encoding="utf-8")
    print(f"{lock.name}: {done.stdout.count('==')} distributions")


def name_of(line: str) -> str:
    """``torch`` of ``torch==2.13.0  # a comment``; empty for a line without a requirement."""
    bare = line.split("#", 1)[0].strip()
    return next((bare[:i] for i, c in enumerate(bare) if not (c.isalnum() or c in "-_.")), bare)


if __name__ == "__main__":
    main()
