"""The written order of an interleaved pipeline is the one PyTorch follows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from suite.contract.splits.schedule import Work, pipeline_order
from suite.contract.splits.strategies import VIRTUAL_STAGES

pytest.importorskip("torch")

from torch.distributed.pipelining import ScheduleInterleaved1F1B  # noqa: E402


def _order_of_pytorch(device: int, devices: int, parts: int) -> list[Work]:
    schedule = SimpleNamespace(
        n_local_stages=VIRTUAL_STAGES, pp_group_size=devices, _n_microbatches=parts,
        microbatches_per_round=devices,
    )
    kinds = {"FORWARD": "forward", "FULL_BACKWARD": "backward"}
    actions = ScheduleInterleaved1F1B._calculate_single_rank_operations(
        schedule, device  # type: ignore[arg-type]
    )
    return [
        (action.stage_index, kinds[action.computation_type.name], action.microbatch_index or 0)
        for action in actions if action
    ]


@pytest.mark.parametrize(("devices", "parts"), [(2, 4), (3, 6), (4, 8), (4, 24)])
def test_the_same_order(devices: int, parts: int) -> None:
    for device in range(devices):
        found = pipeline_order("interleaved", device, devices, parts)
        assert found == _order_of_pytorch(device, devices, parts)
