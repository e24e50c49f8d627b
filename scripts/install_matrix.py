"""Sets the suite up with some of the frameworks and runs it: ``make installs``.

    python -m scripts.install_matrix [--only torch,tensorflow,all] [--python python3.12,…]
                                     [--versions pinned|newest|before] [--write]

Each row is an environment of its own, made from requirements.txt without what the row leaves out,
in which the preset ``smoke`` runs. That of all frameworks builds Horovod, as the set-up does.
Versions are the pinned ones; or the newest up to these that the interpreter can have, for one to
which the pinned ones are not offered; or the newest before these. A framework that is missing must
be rows ``unsupported`` that say how to get it, and nothing else may fail. ``--write`` puts the rows
into the table of docs/installing.md, where they take the place of rows alike. Exits with 1 where a
row is not as it has to be. Environments stay in .venv-installs. uv installs where it is at hand.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from scripts.install import installing

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "installing.md"
PLACE = ROOT / ".venv-installs"
TOOLS = ("pytest", "playwright", "ruff", "mypy", "hypothesis", "jsonschema")
# Name of an install -> distributions of requirements.txt that it leaves out.
INSTALLS = {
    "torch": ("tensorflow-cpu", "keras"), "tensorflow": ("torch",), "all": (),
}
HEAD = ("| Python | frameworks | versions | installed | on | exit code | ok | unsupported | "
        "failed | what the unsupported say |")
# Whose versions a row shows, and how an environment tells them.
SHOWN = ("torch", "tensorflow-cpu", "horovod", "numpy", "pandas")
TELL = """
import sys
from importlib import metadata
have = {one.metadata["Name"].replace("_", "-"): one.version for one in metadata.distributions()}
print(", ".join(f"{name} {have[name]}" for name in sys.argv[1:] if name in have))
"""
# What the suite needs on a Python that the set-up does not have; pyproject.toml names it too.
OLD_PYTHON = "tomli>=2; python_version < '3.11'"
# How the versions are chosen -> what stands between a name and its pinned version.
VERSIONS = {"pinned": "==", "newest": "<=", "before": "<"}
TABLE = re.compile(rf"{re.escape(HEAD)}\n(?:\|.*\n)*")


@dataclass(frozen=True)
class Found:
    """What one install gave: rows by status, and the reasons of those that are unsupported.

    ``installed`` names frameworks with their versions.
    """

    python: str
    name: str
    versions: str
    code: int
    statuses: Counter[str]
    reasons: list[str]
    log: str
    installed: str = ""

    @property
    def as_it_should_be(self) -> bool:
        """Whether something ran, nothing failed, and all that is missing says how to get it."""
        others = set(self.statuses) - {"ok", "unsupported"}
        told = all(":" in reason for reason in self.reasons)
        return self.code == 0 and self.statuses["ok"] > 0 and not others and told

    def line(self) -> str:
        """A row of the table."""
        failed = sum(self.statuses.values()) - self.statuses["ok"] - self.statuses["unsupported"]
        return (f"{self.start}{self.installed} | {date.today():%Y-%m-%d} | {self.code} | "
                f"{self.statuses['ok']} | {self.statuses['unsupported']} | {failed} | "
                f"{'; '.join(self.reasons)} |")

    @property
    def start(self) -> str:
        """What a row of the same install begins with."""
        return f"| {self.python} | {self.name} | {self.versions} | "


def main() -> int:
    """Makes the installs that were asked for; returns 0 if each is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m scripts.install_matrix")
    parser.add_argument("--only", default=",".join(INSTALLS))
    parser.add_argument("--python", default=sys.executable, help="interpreters, comma-separated")
    parser.add_argument("--versions", choices=VERSIONS, default="pinned")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    names = asked.only.split(",")
    if unknown := sorted(set(names) - INSTALLS.keys()):
        print(f"--only {', '.join(unknown)}: expected {', '.join(INSTALLS)}", file=sys.stderr)
        return 2
    print(HEAD, flush=True)
    found = []
    for python in asked.python.split(","):
        for name in names:
            found.append(one := install(python, name, asked.versions))
            print(one.line(), flush=True)
            if not one.as_it_should_be:
                print(one.log[-3000:], file=sys.stderr)
            if asked.write:  # each at once: the next may take minutes, and be interrupted
                write(found)
    return 0 if all(one.as_it_should_be for one in found) else 1


def write(found: list[Found]) -> None:
    """Puts rows into the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda before: table(found, before[0].splitlines()[2:]), text),
                    encoding="utf-8")


def table(found: list[Found], before: list[str]) -> str:
    """The table of docs/installing.md, sorted: the rows before but for those made again."""
    kept = [line for line in before if not any(line.startswith(one.start) for one in found)]
    rule = "|---" * HEAD.count(" |") + "|"
    return "\n".join([HEAD, rule, *sorted([*kept, *(one.line() for one in found)])]) + "\n"


def requirements(left_out: tuple[str, ...], versions: str = "pinned") -> list[str]:
    """The distributions of the set-up without some of them and without its tools."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.partition("#")[0].strip() for line in lines]
    gone = (*TOOLS, *left_out)
    return [OLD_PYTHON, *(one.replace("==", VERSIONS[versions]) for one in wanted
                          if one and not one.startswith(gone))]


def install(python: str, name: str, versions: str) -> Found:
    """Sets an environment up, unless an earlier call did, and runs the smoke preset in it."""
    version = subprocess.run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                             check=True, capture_output=True, text=True).stdout.strip()
    place = PLACE / f"{version}-{name}-{versions}"
    own, ready = place / "bin" / "python", place / "ready"
    if not ready.exists():
        began = time.monotonic()
        make_environment(python, place)
        command, variables = installing(
            str(own), ["-q", *requirements(INSTALLS[name], versions)])
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=variables)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "ERROR" in line or "×" in line]
            return Found(version, name, versions, done.returncode, Counter(), said[:1],
                         done.stderr)
        if name == "all":
            build_horovod(own)
        ready.write_text(f"{time.monotonic() - began:.0f} s\n")
    return run(own, version, name, versions)


def make_environment(python: str, place: Path) -> None:
    """Makes an empty environment of an interpreter."""
    subprocess.run([python, "-m", "venv", "--clear", str(place)], check=True)


def build_horovod(python: Path) -> None:
    """Builds Horovod for an install; where that fails its rows have to say that it is missing."""
    # Among the rows, how far it is would be in the way; it names the log where it fails.
    subprocess.run([str(python), str(ROOT / "scripts" / "build_horovod.py")], cwd=ROOT, check=False,
                   env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)


def run(python: Path, version: str, name: str, versions: str) -> Found:
    """The smoke preset by the interpreter of an install, from this checkout."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(python), "-m", "suite", "run", "--preset", "smoke", "--out", folder, "--quiet"],
            cwd=ROOT, check=False, capture_output=True, text=True,
        )
        tables = list(Path(folder).glob("*/results.csv"))
        rows = list(csv.DictReader(tables[0].open())) if tables else []
    reasons = [row["reason"] for row in rows if row["status"] == "unsupported"]
    told = subprocess.run([str(python), "-c", TELL, *SHOWN], check=True, capture_output=True,
                          text=True)
    return Found(version, name, versions, done.returncode,
                 Counter(row["status"] for row in rows), list(dict.fromkeys(reasons)),
                 done.stdout + done.stderr, told.stdout.strip())


if __name__ == "__main__":
    raise SystemExit(main())
