"""A rank that trains, and says which of its threads give way to those that compute.

    python -m tests.real.policies CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES

``policies-N.json`` has the policies of the threads of the hops, and of those whose collectives a
stage only waits for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from typing import Any

from suite.contract.case import Rank
from suite.contract.files import write_atomically
from tests.real.watched import train


def tell(session: Any, rank: Rank) -> None:
    """Writes the policies of a session's threads."""
    awaited = set(session.awaited)
    found = {"hops": policies(session.communicating - awaited), "awaited": policies(awaited)}
    write_atomically(rank.folder / f"policies-{rank.index}.json", json.dumps(found))


def policies(threads: Collection[int]) -> list[int]:
    """The different ones among these threads."""
    return sorted({os.sched_getscheduler(thread) for thread in threads})


if __name__ == "__main__":
    train(tell)
