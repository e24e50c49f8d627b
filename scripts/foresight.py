"""``make foresight``: predictions judged on published tables, as text and as a page.

    python -m scripts.foresight [--page results/foresight.html] [--workers 2]

It prints for each source how many figures were predicted, the mean absolute error of the simplest
rule beside that of the model, the rank correlation of configurations within a model, and how many
figures the 90 % intervals hold; and why rows were left out. It then times 10,000 configurations.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from suite.foresight.judgement import judge_all, verdicts
from suite.report.foresight import left_out_lines, verdict_lines
from suite.report.foresight_page import judgement_page


def main() -> None:
    """Judges, prints and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, default=Path("results/foresight.html"))
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    figures, reasons = judge_all(given.workers)
    found = verdicts(figures)
    print("\n".join([*verdict_lines(found), "", *left_out_lines(reasons)]))
    given.page.parent.mkdir(parents=True, exist_ok=True)
    given.page.write_text(judgement_page(figures, found), encoding="utf-8")
    print(f"\npage: {given.page}")
    print(benchmark_line())


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
