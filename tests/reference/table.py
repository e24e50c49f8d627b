"""All ratios of adapters over plain scripts as one table, within minutes: ``make ratios``.

    python -m tests.reference.table [--minutes 10] [--workload gpt,bert] [--column pytorch]
                                    [--strategy single,data] [--launches 5] [--again]

Launches one cell after another (``tests.reference``), that with the fewest launches first, until
the minutes are over, and prints what it knows. Each launch is kept in results/ratios, so that the
next call goes on; launches of other sources are left out, and ``--again`` forgets all. PyTorch's 24
cells need about 6 minutes for a launch each, all 96 about 25. Run it with nothing beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from suite.contract.case import Case
from suite.contract.splits.strategies import STRATEGIES
from tests.reference.__main__ import (
    LAUNCHES,
    SIZES,
    Comparison,
    cases,
    launch_pair,
    summarise,
)
from tests.reference.pair import script_name

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "results" / "ratios" / "launches.jsonl"
COLUMNS = ("pytorch", "tensorflow", "horovod_torch", "horovod_tensorflow")
# Rounds of a launch, and seconds after which it begins no other one.
ROUNDS, PAIR_SECONDS = 6, 6.0
# What a cell's first launch is expected to take, until the cell has told; none may take longer than
# the second.
FIRST_S, LONGEST_S = 15.0, 150.0
# What a ratio depends on.
SOURCES = ("adapters", "suite/contract", "tests/reference")


@dataclass(frozen=True)
class Launch:
    """One launch of a cell: what it found, and how long it took."""

    cell: str
    sources: str
    seconds: float
    found: Comparison


class Store:
    """The launches of these sources, in a file that a stopped call leaves whole.

    Args:
        path: The file, a line a launch; it need not exist.
        sources: Name of the sources.
    """

    def __init__(self, path: Path, sources: str) -> None:
        self.path, self.sources = path, sources
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        read = [json.loads(line) for line in lines if line.endswith("}")]
        self.launches = [Launch(**one | {"found": Comparison(**one["found"])}) for one in read
                         if one["sources"] == sources]

    def add(self, cell: str, seconds: float, found: Comparison) -> None:
        """Keeps a launch, in the file too."""
        self.launches.append(launch := Launch(cell, self.sources, seconds, found))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(launch)) + "\n")

    def of(self, cell: str) -> list[Launch]:
        """The launches of a cell."""
        return [one for one in self.launches if one.cell == cell]


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 1 if a launch failed."""
    asked = arguments(words)
    if asked.again:
        STORE.unlink(missing_ok=True)
    store = Store(STORE, sources())
    os.environ["PAIR_SECONDS"] = str(PAIR_SECONDS)
    os.environ["SUITE_PASS_ENV"] += ",PAIR_SECONDS"
    chosen = [case for workload in asked.workload for case in cases(ROUNDS, workload)
              if column(case) in asked.column and case.strategy in asked.strategy]
    failed = measure(chosen, store, asked.launches, time.monotonic() + 60 * asked.minutes)
    print("\n".join(table(chosen, store)))
    return 1 if failed else 0


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Of the command line, unless ``words`` are given; lists are comma-separated."""
    parser = argparse.ArgumentParser(prog="python -m tests.reference.table")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--launches", type=int, default=LAUNCHES, help="of a cell, at most")
    parser.add_argument("--again", action="store_true", help="forget earlier launches")
    choices = {"workload": tuple(SIZES), "column": COLUMNS, "strategy": tuple(STRATEGIES)}
    for name, known in choices.items():
        parser.add_argument(f"--{name}", default=",".join(known))
    asked = parser.parse_args(words)
    for name, known in choices.items():
        named = getattr(asked, name).split(",")
        if unknown := [one for one in named if one not in known]:
            parser.error(f"--{name}: got {', '.join(unknown)}, expected {', '.join(known)}")
        setattr(asked, name, named)
    return asked


def sources(root: Path = ROOT) -> str:
    """A name for the sources that a ratio depends on; it changes with any of them."""
    digest = hashlib.sha256()
    for path in sorted(path for part in SOURCES for path in (root / part).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def column(case: Case) -> str:
    """``pytorch`` or ``horovod_torch``: the column of a case."""
    return script_name(case).removesuffix(f"_{case.strategy}")


def cell_of(case: Case) -> str:
    """``gpt pytorch_data``: the name of a case's cell."""
    return f"{case.workload} {script_name(case)}"


def measure(chosen: Sequence[Case], store: Store, launches: int, until: float) -> list[str]:
    """Launches cells until the time is over or each has ``launches``.

    Args:
        chosen: The cells.
        store: Where launches are kept.
        launches: Of a cell, at most.
        until: When no launch may run any more, as ``time.monotonic`` counts.

    Returns:
        Why launches failed; their cells are not launched again.
    """
    failed: dict[str, str] = {}
    while case := due(chosen, store, launches, failed, until - time.monotonic()):
        began = time.monotonic()
        try:
            found = launch_pair(case, min(LONGEST_S, until - began))
        except RuntimeError as error:
            failed[cell_of(case)] = str(error)
            print(error, file=sys.stderr, flush=True)
            continue
        store.add(cell_of(case), time.monotonic() - began, found)
        print(f"{cell_of(case):42}{found.ratio:7.3f}  {found.low:.3f} to {found.high:.3f}"
              f"{found.plain_s * 1e3:10.1f} ms", file=sys.stderr, flush=True)
    return list(failed.values())


def due(
    chosen: Sequence[Case], store: Store, launches: int, failed: Iterable[str], left_s: float
) -> Case | None:
    """The cell with the fewest launches among those that still fit; None if there is none."""
    def fits(case: Case) -> bool:
        known = store.of(cell_of(case))
        expected = max((one.seconds for one in known), default=FIRST_S)
        return len(known) < launches and cell_of(case) not in failed and expected < left_s

    fitting = filter(fits, chosen)
    return min(fitting, key=lambda case: len(store.of(cell_of(case))), default=None)


def table(chosen: Sequence[Case], store: Store) -> list[str]:
    """The ratios as a Markdown table, a row a workload and column, and what they say."""
    lines = ["| adapter / plain | " + " | ".join(STRATEGIES) + " |", "|---" * 5 + "|"]
    rows: dict[str, dict[str, str]] = {}
    known: dict[str, Comparison] = {}
    for case in chosen:
        row = rows.setdefault(f"{case.workload} {column(case)}", {})
        if launches := store.of(cell_of(case)):
            one = known[cell_of(case)] = summarise([each.found for each in launches])
            row[case.strategy] = (f"{one.ratio:.3f} [{one.low:.3f}, {one.high:.3f}]"
                                  f"{f' of {len(launches)}' if len(launches) > 1 else ''}")
    lines += [f"| {name} | {' | '.join(row.get(one, '') for one in STRATEGIES)} |"
              for name, row in rows.items()]
    above = [f"{cell} {one.ratio:.3f}" for cell, one in known.items() if one.low > 1.0]
    return [*lines, f"{len(known)} of {len(chosen)} cells measured, {len(known) - len(above)} of "
            f"them at 1.00 or below within their interval; above it: {', '.join(above) or 'none'}"]


if __name__ == "__main__":
    raise SystemExit(main())
