"""Builds Horovod on a machine without a network, from the sdist that is carried there.

    python3 -m tests.gpu.build [--configure] --out FOLDER

NCCL for GPUs where torch has CUDA and the toolkit is here, else gloo. Nothing is installed: that it
builds, and for what, is what is shown. ``--configure`` is the short form: it lets CMake find all
that a build needs, and compiles nothing. Exits with 3 where this machine lacks what a build needs.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

from scripts import build_horovod
from scripts.horovod_cmake import configure
from tests.gpu.loan import PACKAGES


def main() -> int:
    """Builds the wheel in the folder; returns 0 if it has the libraries that were asked for."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.gpu.build")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--configure", action="store_true")
    asked = parser.parse_args()
    out = asked.out.resolve()
    if missing := lacking():
        print(f"not built: {', '.join(missing)}", file=sys.stderr)
        return 3
    shutil.copy(sdist(), out)
    flags = build_horovod.flags()
    print("flags: " + " ".join(f"{name}={value}" for name, value in sorted(flags.items())))
    if asked.configure:
        with tempfile.TemporaryDirectory(prefix="horovod") as plain:
            configure(sdist(), Path(plain), flags, out / "build.log")
        print("configured, not built: the short form")
        return 0
    wheel = build_horovod._build(out, out / "build.log")
    print(f"built {wheel.name}, {wheel.stat().st_size >> 20} MiB")
    return 0


def sdist() -> Path:
    """Where the carried archive is."""
    return PACKAGES / f"horovod-{build_horovod.RELEASE}.tar.gz"


def lacking() -> list[str]:
    """What the build needs and this machine has not, in words."""
    found = [f"{name} is not found" for name in ("cmake", "g++", "make") if not _tool(name)]
    found += [f"{name} is not installed" for name in ("torch", "setuptools", "wheel", "pip")
              if importlib.util.find_spec(name) is None]
    return found + ([] if sdist().exists() else [f"no {sdist().name} in {PACKAGES.name}"])


def _tool(name: str) -> str | None:
    return shutil.which(name, path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin")


if __name__ == "__main__":
    raise SystemExit(main())
