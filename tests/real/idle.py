"""A rank that trains, and then says how much of a core it uses while nothing is asked of it.

    python -m tests.real.idle CASE_JSON INPUTS_NPZ FOLDER RANK PROCESSES CORES

It is still in its group then. The share is in ``idle-N.json``.
"""

from __future__ import annotations

import json
import time
from typing import Any

from suite.contract.case import Rank
from suite.contract.files import write_atomically
from tests.real.watched import train

IDLE_S = 0.5


def idle_at_the_end(session: Any, rank: Rank) -> None:
    """Makes the session look at its process before it leaves the group."""
    close = session.close

    def idle_and_close() -> None:
        write_atomically(rank.folder / f"idle-{rank.index}.json", json.dumps(_idle_share()))
        close()

    session.close = idle_and_close


def _idle_share() -> float:
    """Of a core that this process uses while it sleeps."""
    used = time.process_time()
    time.sleep(IDLE_S)
    return (time.process_time() - used) / IDLE_S


if __name__ == "__main__":
    train(idle_at_the_end)
