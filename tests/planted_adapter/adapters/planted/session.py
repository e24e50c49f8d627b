"""Opens PyTorch (engine ``torch``) or Horovod on torch (engine ``horovod``) and plants."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import Any

from adapters.cycled import lengthen_cycle
from adapters.slowed import Slowed, slow_loss, slow_passes

from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.workloads import Weights


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    if case.engine == "horovod":
        from adapters.horovod.session import open_session as opened
    else:
        from adapters.pytorch.session import open_session as opened
    kind, _, rest = os.environ.get("PLANT", "").partition(":")
    if kind == "cycle":
        lengthen_cycle(rest)
        kind = ""
    session = opened(replace(case, engine="torch"), rank, weights, inputs)
    if os.environ.get("PLANT") == "count":
        session.timed_step = _counted(session, rank)  # type: ignore[method-assign]
        return session
    if kind == "slow":
        slow = slow_passes if case.strategy == "inter_layer" else slow_loss
        slow(session, Slowed(rest, rank.index))
        return session
    number, _, amount = rest.partition(":")
    if kind and int(number) == rank.index:
        planted = {"delay": _delayed, "work": _doubled, "spin": _spun}[kind]
        session.step = planted(session, session.step, amount)  # type: ignore[method-assign]
    return session


def _counted(session: Any, rank: Rank) -> Any:
    from torch.distributed.tensor.debug import CommDebugMode

    timed_step = session.timed_step

    def counted(index: int) -> Any:
        with CommDebugMode() as mode:
            trace = timed_step(index)
        counts = {str(name): count for name, count in mode.get_comm_counts().items()}
        (rank.folder / f"counts-{rank.index}.json").write_text(json.dumps(counts))
        return trace

    return counted


def _delayed(session: Any, step: Any, amount: str) -> Any:
    def late(index: int) -> Any:
        if index % 2:
            time.sleep(float(amount))
        return step(index)

    return late


def _doubled(session: Any, step: Any, amount: str) -> Any:
    def twice(index: int) -> Any:
        with session.silenced():
            step(index)
        return step(index)

    return twice


def _spun(session: Any, step: Any, amount: str) -> Any:
    """Multiplies matrices, since Python alone would be dispatch and no load of the device."""
    import torch

    operand = torch.full((256, 256), 0.5)

    def more(index: int) -> Any:
        end = time.process_time() + float(amount)
        while time.process_time() < end:
            operand @ operand
        return step(index)

    return more
