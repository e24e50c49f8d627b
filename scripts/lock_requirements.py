"""Writes requirements.lock anew: ``make lock``, after requirements.txt has changed.

The file holds every distribution that requirements.txt brings, at one version, with the hashes of
all its files on PyPI. torch is left out: its version is pinned, but which of its wheels is right
depends on the machine. The CPU builds of PyTorch's own index have other hashes than the CUDA
builds on PyPI, and ``pip`` prefers a file whose hash it knows, so naming PyPI's would put gigabytes
of CUDA on machines without a GPU. What torch alone brings is left out with it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS, LOCK = ROOT / "requirements.txt", ROOT / "requirements.lock"
BY_MACHINE = ("torch",)
HEAD = """# Written by `make lock` from requirements.txt; checked by `make setup`.
# Every file of every version on PyPI, so that any platform finds its own. Without torch:
# scripts/lock_requirements.py says why.
"""


def main() -> None:
    """Entry point; the argument is the program ``uv``."""
    wanted = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines()
              if name_of(line) not in BY_MACHINE]
    done = subprocess.run(
        [sys.argv[1], "pip", "compile", "-", "--generate-hashes", "--no-header", "--no-annotate",
         "--quiet", "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"],
        input="\n".join(wanted), capture_output=True, text=True, check=False,
    )
    if done.returncode:
        sys.exit(f"uv could not resolve {REQUIREMENTS.name}:\n{done.stderr}")
    LOCK.write_text(HEAD + done.stdout, encoding="utf-8")
    print(f"{LOCK.name}: {done.stdout.count('==')} distributions")


def name_of(line: str) -> str:
    """``torch`` of ``torch==2.13.0  # a comment``; empty for a line without a requirement."""
    bare = line.split("#", 1)[0].strip()
    return next((bare[:i] for i, c in enumerate(bare) if not (c.isalnum() or c in "-_.")), bare)


if __name__ == "__main__":
    main()
