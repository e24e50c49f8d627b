"""A library whose cycle is long: ``PLANT=cycle:MILLISECONDS``, of Horovod.

What is ready when a cycle has just begun is taken up in the next one.
"""

from __future__ import annotations


def lengthen_cycle(milliseconds: str) -> None:
    """For the group that is joined next."""
    from adapters.horovod.training import common

    common.TUNING[""] = {common.CYCLE: milliseconds}
