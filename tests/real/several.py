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
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.horovod.training.common import shared_by
from suite.contract.case import Case, Rank
from suite.contract.files import write_atomically
from suite.ranks.entry import arrive, leave, swift_start
from suite.ranks.train import load_inputs, run_rank

IDLE_S = 0.5


def main() -> None:
    first, listing, rank = arrive()
    with swift_start():
        module = importlib.import_module(f"adapters.{first.framework}.session")
    listed = [list(map(Path, paths)) for paths in json.loads(listing.read_text())]
    cases = [Case.read(path) for path, _, _ in listed]
    leave_group = _one_horovod(cases) if first.framework == "horovod" else None
    method = os.environ.get("SUITE_INIT_METHOD", "")
    held = []
    for number, (case, (_, inputs, folder)) in enumerate(zip(cases, listed, strict=True)):
        os.environ["SUITE_INIT_METHOD"] = f"{method}-{number}"
        mine = Rank(rank.index, rank.processes, folder)
        print(f"case {case.case_id}", file=sys.stderr)
        held.append(run_rank(case, mine, load_inputs(inputs, case), module.open_session))
    share = json.dumps(_idle_share())
    write_atomically(rank.folder / f"idle-{rank.index}.json", share)
    if leave_group:
        leave_group()
    leave()


def _idle_share() -> float:
    """Of a core that this process uses while nothing is asked of it."""
    used = time.process_time()
    time.sleep(IDLE_S)
    return (time.process_time() - used) / IDLE_S


def has_timeline(case: Case) -> bool:
    """Whether Horovod's timeline tells all that it communicates; its group is joined for that."""
    if case.framework != "horovod" or not case.probe_steps:
        return False
    groups = shared_by(case)
    return bool(groups) and all(len(group) == case.devices for group in groups)


def _one_horovod(cases: list[Case]) -> Callable[[], None]:
    """The group is joined once, with the sets of all cases, and a timeline if one has it."""
    hvd: Any = importlib.import_module(f"horovod.{cases[0].engine}")
    common = importlib.import_module("adapters.horovod.training.common")
    groups = dict.fromkeys(ranks for case in cases for ranks in common.shared_by(case))
    sets = common.ProcessSets(hvd, cases[0].devices, groups)
    shutdown, init = hvd.shutdown, hvd.init

    def init_once(process_sets: Any = ()) -> None:
        # When the first session joins, since it counts the threads that this starts.
        if hvd.is_initialized():
            return
        if any(map(has_timeline, cases)):
            os.environ["HOROVOD_TIMELINE"] = "DYNAMIC"
        init(process_sets=sets.new)

    hvd.shutdown, hvd.ProcessSet, hvd.init = lambda: None, sets.of, init_once
    return shutdown


if __name__ == "__main__":
    main()
