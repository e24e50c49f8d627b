"""``make foresight``: predictions judged on published tables, as text and as a page.

    python -m scripts.foresight [--page results/foresight.html] [--workers 2]
    python -m scripts.foresight --run results/<run-id>

It prints for each source how many figures were predicted, the mean absolute error of the simplest
rule beside that of the model, the rank correlation of configurations within a model, and how many
figures the 90 % intervals hold; and why rows were left out. It then times 10,000 configurations.

The second form lays the rows of a run on this machine beside what its stored calibration predicts
(`python -m suite predict --calibrate`): nothing of a run calibrates anything.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

from suite.cli.stored import machine_here
from suite.contract.errors import UsageError
from suite.foresight.figures import Figure
from suite.foresight.judgement import judge_all, verdicts
from suite.foresight.local import GOALS as LOCAL_GOALS
from suite.foresight.local import compared, predictable
from suite.report.foresight import left_out_lines, verdict_lines
from suite.report.foresight_page import judgement_page
from suite.runfolder.reading import read_run


def main() -> None:
    """Judges, prints and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, default=Path("results/foresight.html"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--run", type=Path, help="compare a run on this machine instead")
    given = parser.parse_args()
    if given.run:
        print("\n".join(local_lines(given.run)))
        return
    figures, reasons = judge_all(given.workers)
    found = verdicts(figures)
    print("\n".join([*verdict_lines(found), "", *left_out_lines(reasons)]))
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(judgement_page(figures, found), encoding="utf-8")
    print(f"\npage: {given.page}")
    print(benchmark_line())


def local_lines(folder: Path) -> Iterator[str]:
    """A line for each measured row, then the mean errors beside their goals."""
    rows = [row for row in read_run(folder).rows() if predictable(row)]
    figures: list[Figure] = []
    for row in rows:
        try:
            _, posterior = machine_here(f"{row.framework}/{row.engine}", row.mode,
                                        (row.workload, row.size))
        except UsageError as error:
            yield f"{row.case_id}: {error}"
            continue
        mine = compared(row, posterior, "this machine")
        figures += mine
        yield f"{row.case_id:45s} " + ", ".join(
            f"{f.quantity} {f.published:.4g} predicted {f.predicted:.4g} ({f.error:+.0%})"
            for f in mine)
    for one in verdicts(figures):
        goal = LOCAL_GOALS[one.quantity]
        met = "met" if one.error <= goal else "missed"
        inside = "" if math.isnan(one.coverage) else f", {one.coverage:.0%} inside the interval"
        alone = "" if math.isnan(one.baseline_error) or one.baseline_error == one.error else (
            f" ({one.baseline_error:.1%} by constants alone)")
        yield (f"{one.quantity}: mean error {one.error:.1%}{alone} of {one.judged} rows, goal "
               f"{goal:.0%}, {met}{inside}")


def benchmark_line(count: int = 10_000) -> str:
    """Seconds that the prediction of that many configurations takes here."""
    from suite.foresight.enumerate import example_plans
    from suite.foresight.predict import predict

    model, plans, stack = example_plans(count)
    began = time.perf_counter()
    predict(model, plans, stack)
    return f"{len(plans):,} configurations predicted in {time.perf_counter() - began:.2f} s"


if __name__ == "__main__":
    main()
