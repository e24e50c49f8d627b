"""A rank that runs one case after another, so that many cells are proven for one start-up.

    python -m tests.real.several CASES_JSON INPUTS_JSON FOLDER RANK PROCESSES CORES

``CASES_JSON`` is the first case, as everywhere; ``INPUTS_JSON`` lists all of them as
``[case.json, inputs.npz, folder]``. A benchmark never does this: its launches are replicates.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from suite.spec.case import Case, Rank
from suite.worker import arrive, leave, load_inputs, run_rank, swift_start


def main() -> None:
    first, listing, rank = arrive()
    with swift_start():
        module = importlib.import_module(f"adapters.{first.framework}.session")
    leave_group = _one_horovod(first.engine) if first.framework == "horovod" else None
    method = os.environ.get("SUITE_INIT_METHOD", "")
    held = []
    for number, paths in enumerate(json.loads(listing.read_text())):
        case_path, inputs, folder = map(Path, paths)
        case = Case.read(case_path)
        os.environ["SUITE_INIT_METHOD"] = f"{method}-{number}"
        mine = Rank(rank.index, rank.processes, folder)
        print(f"case {case.case_id}", file=sys.stderr)
        held.append(run_rank(case, mine, load_inputs(inputs, case), module.open_session))
    if leave_group:
        leave_group()
    leave()


def _one_horovod(engine: str) -> Callable[[], None]:
    """Horovod cannot join a second time; on two ranks every strategy uses the same group."""
    hvd: Any = importlib.import_module(f"horovod.{engine}")
    shutdown, hvd.shutdown = hvd.shutdown, lambda: None
    return shutdown


if __name__ == "__main__":
    main()
