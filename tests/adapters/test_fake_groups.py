"""What four ranks would send, of every strategy, in one process: PyTorch's ``fake`` group.

Its collectives return at once and move nothing, so a rank can be looked at alone. What the
dispatcher sees of each rank is held against the others': on GPUs ranks that disagree on the order
or on a size of a group's collectives hang, and against the plan's B and N. Pipelines are in
test_fake_pipelines. The long tests do the same with eight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from adapters.pytorch.session import _class_of  # noqa: E402
from suite.contract.adapter import Inputs  # noqa: E402
from suite.contract.case import Case, Rank  # noqa: E402
from suite.contract.records import RankRecord  # noqa: E402
from suite.contract.workloads import initial_weights  # noqa: E402
from suite.launch.inputs import load_data  # noqa: E402
from tests.real.cells import check_payloads, name  # noqa: E402

WORLD, WIDER = 4, 8
KINDS = {"allreduce_": "all_reduce", "all_reduce": "all_reduce", "_allgather_base_": "all_gather",
         "all_gather_into_tensor": "all_gather", "_reduce_scatter_base_": "reduce_scatter",
         "reduce_scatter_tensor": "reduce_scatter", "broadcast_": "broadcast"}
# (kind, ranks of the group, bytes)
Sent = tuple[str, tuple[int, ...], int]


class Recorder(TorchDispatchMode):
    """Notes every collective that a rank issues, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function._schema.name
        if name.startswith(("c10d::", "_c10d_functional::")):
            kind = name.partition("::")[2]
            if kind in KINDS:
                self.sent.append(_sent(KINDS[kind], args))
        return function(*args, **(kwargs or {}))


def _sent(kind: str, args: Any) -> Sent:
    named = [one for one in args if isinstance(one, str) and one not in ("sum", "avg")]
    if named:
        group = dist.distributed_c10d._resolve_process_group(named[-1])
    else:
        objects = [one for one in args if isinstance(one, torch.ScriptObject)]
        group = dist.ProcessGroup.unbox(objects[0])
    first = args[0][0] if isinstance(args[0], list) else args[0]
    size = first.numel() * first.element_size() if isinstance(first, torch.Tensor) else 0
    return kind, tuple(dist.get_process_group_ranks(group)), size


@contextmanager
def joined(rank: int, world: int) -> Iterator[None]:
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _cases(world: int) -> list[Case]:
    gpt = ("tests.depths:GPT", "shallow" if world == WORLD else "eight")
    cells = [
        ("data", "", *gpt, ""), ("data", "fsdp", *gpt, ""), ("data", "bf16", "mlp", "tiny", ""),
        ("intra_layer", "", *gpt, ""), ("intra_layer", "", "resnet", "tiny", ""),
        ("data+intra_layer", "", *gpt, f"data=2,intra_layer={world // 2}"),
    ]
    return [Case("pytorch", "torch", *cell, "synthetic", "cpu", world, mesh=mesh)
            for *cell, mesh in cells]


def both(cases: Callable[[int], list[Case]]) -> list[Any]:
    """Parameters: the cases of four ranks, and of eight for the long tests."""
    return [*cases(WORLD), *(pytest.param(case, marks=pytest.mark.long) for case in cases(WIDER))]


@pytest.fixture(scope="module", params=both(_cases), ids=name)
def issued(request: pytest.FixtureRequest) -> tuple[Case, list[RankRecord], list[list[Sent]]]:
    """The records of a timed step of each rank, and what the dispatcher saw of it."""
    case = request.param
    arrays = load_data(case.spec, "synthetic", 0)
    inputs = Inputs(*arrays, case.spec.global_batch)
    weights = initial_weights(case.spec, 0)
    records, sent = [], []
    for rank in range(case.devices):
        with joined(rank, case.devices):
            session = _class_of(case)(case, Rank(rank, case.devices, Path()), weights, inputs,
                                      torch.device("cpu"))
            session.timed_step(0)  # the first one lays buckets out and exchanges shapes
            with Recorder() as recorder:
                trace = session.timed_step(1)
        records.append(RankRecord(rank, traces=[trace]))
        sent.append(recorder.sent)
    return case, records, sent


def test_payloads_are_the_plans(issued: tuple[Case, list[RankRecord], list[list[Sent]]]) -> None:
    case, records, _ = issued
    check_payloads(case, records)


def test_ranks_of_a_group_call_the_same_in_the_same_order(
    issued: tuple[Case, list[RankRecord], list[list[Sent]]]
) -> None:
    case, _, sent = issued
    groups = {one[1] for each in sent for one in each}
    assert {len(group) for group in groups} == {size for _, size in case.axes.axes}
    for group in groups:
        calls = [[one for one in sent[rank] if one[1] == group]
                 for rank in group]
        assert calls[0] and all(each == calls[0] for each in calls), (case.case_id, group)
    for rank in range(case.devices):
        strangers = [one for one in sent[rank] if rank not in one[1]]
        assert not strangers, (rank, strangers)


def test_a_rank_that_swaps_two_calls_is_found() -> None:
    """The dispatcher sees what the ranks issue, with its group and bytes."""
    seen = []
    for rank in (0, 1):
        with joined(rank, WORLD), Recorder() as recorder:
            for size in ((4, 8) if rank else (8, 4)):
                dist.all_reduce(torch.zeros(size))
        seen.append(recorder.sent)
    group = tuple(range(WORLD))
    assert seen == [[("all_reduce", group, 32), ("all_reduce", group, 16)],
                    [("all_reduce", group, 16), ("all_reduce", group, 32)]]
