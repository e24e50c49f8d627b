"""What four ranks of a pipeline would pass on, in one process: PyTorch's ``fake`` group.

Nothing arrives on it, so each rank can be looked at alone. Stages tell each other the shapes of
what they send; here the plan tells them, and what they would have said is held against it. The hops
that a schedule issues are then held against the plan's B and N, against those of the neighbours,
and against NCCL: the hops of two ranks run in the order in which they were issued, those that were
issued together side by side. Where that cannot come to an end, GPUs would hang. The long tests do
the same with eight.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
from torch.distributed.pipelining import schedules  # noqa: E402
from torch.distributed.pipelining._utils import (  # noqa: E402
    _StageBackwardMeta,
    _StageForwardMeta,
    extract_tensor_metas,
)

from adapters.pytorch.session import _class_of  # noqa: E402
from adapters.pytorch.splits.inter_layer import InterLayerSession, _Stage  # noqa: E402
from suite.contract.adapter import Inputs  # noqa: E402
from suite.contract.case import Case, Rank  # noqa: E402
from suite.contract.records import RankRecord  # noqa: E402
from suite.contract.splits.stages import unit_ranges  # noqa: E402
from suite.contract.workloads import initial_weights  # noqa: E402
from suite.launch.inputs import load_data  # noqa: E402
from tests.adapters.test_fake_groups import both, joined  # noqa: E402
from tests.depths import case_fields  # noqa: E402
from tests.real.cells import check_payloads, name  # noqa: E402

# (whether it is sent, the other rank, the ranks of the group, bytes)
Hop = tuple[bool, int, tuple[int, ...], int]
# The hops that a rank issues together, in the order of a step.
Issued = list[list[Hop]]
CELLS = [
    ("inter_layer", "gpipe", "float32"), ("inter_layer", "1f1b", "float32"),
    ("inter_layer", "naive", "float32"), ("inter_layer", "1f1b", "bf16"),
    ("data+inter_layer", "1f1b", "float32"), ("inter_layer", "interleaved", "float32"),
]
# A block for each stage, and two where the last one hands over to the first.
DEPTHS = {4: ("gpt", "gpt/deep"), 8: ("gpt/eight", "gpt/sixteen")}


def _cases(world: int) -> list[Case]:
    return [
        Case("pytorch", "torch", strategy, variant,
             *case_fields(DEPTHS[world][variant == "interleaved"]), "synthetic", "cpu", world,
             dtype, global_batch=16,
             mesh=f"data=2,inter_layer={world // 2}" if "+" in strategy else "")
        for strategy, variant, dtype in CELLS
    ]


class _Pipeline:
    """Runs each rank alone, with the plan in the place of its neighbours."""

    def __init__(self, case: Case, patch: pytest.MonkeyPatch) -> None:
        self.case, self.issued = case, [[] for _ in range(case.devices)]
        self.told: list[tuple[int, int, Any]] = []
        self.records = []
        self.units = unit_ranges(case.spec, case.stages)
        patch.setattr(_Stage, "_recv_meta", lambda stage, source: self._meta(
            max(stage.stage_index, source), forward=source < stage.stage_index))
        patch.setattr(_Stage, "_send_meta", lambda stage, meta, destination: self.told.append(
            (stage.stage_index, destination, meta)))
        original = schedules._batch_p2p
        arrays = load_data(case.spec, "synthetic", 0)
        inputs, weights = Inputs(*arrays, case.spec.global_batch), initial_weights(case.spec, 0)
        for rank in range(case.devices):

            def noted(operations: list[Any], desc: str | None = None, rank: int = rank) -> Any:
                self.issued[rank].append([_hop(one) for one in operations])
                return original(operations, desc)

            patch.setattr(schedules, "_batch_p2p", noted)
            with joined(rank, case.devices):
                session = _class_of(case)(case, Rank(rank, case.devices, Path()), weights, inputs,
                                          torch.device("cpu"))
                session.timed_step(0)  # the first one agrees on shapes
                self.issued[rank].clear()
                self.records.append(RankRecord(rank, traces=[session.timed_step(1)]))

    def _meta(self, stage: int, forward: bool) -> Any:
        """What enters a stage, or the gradient of that."""
        samples = self.case.spec.global_batch // self.case.axes.size("data")
        shape = (samples // self.case.micro_batches,
                 *self.case.spec.boundary(self.units[stage].start))
        kind = torch.bfloat16 if self.case.dtype == "bf16" else torch.float32
        metas = extract_tensor_metas((torch.empty(shape, dtype=kind, requires_grad=forward),))
        return _StageForwardMeta(metas) if forward else _StageBackwardMeta(metas)

    def said(self) -> list[tuple[Any, Any]]:
        """What each stage told the next or the one before, beside what the plan has."""
        return [(meta, self._meta(max(stage, to), forward=to > stage))
                for stage, to, meta in self.told]


def _hop(operation: Any) -> Hop:
    tensor = operation.tensor
    return (operation.op is dist.isend, operation.peer,
            tuple(dist.get_process_group_ranks(operation.group)),
            tensor.numel() * tensor.element_size())


@pytest.fixture(scope="module", params=both(_cases), ids=name)
def pipeline(request: pytest.FixtureRequest) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield _Pipeline(request.param, patch)


def test_hops_are_the_plans_b_and_n(pipeline: _Pipeline) -> None:
    check_payloads(pipeline.case, pipeline.records)
    case = pipeline.case
    hops = Counter(one[3] for each in pipeline.issued for batch in each for one in batch if one[0])
    pipelines = case.axes.size("data")
    assert sum(hops.values()) == 2 * (case.stages - 1) * case.micro_batches * pipelines
    entry = 2 if case.dtype == "bf16" else 4
    samples = case.spec.global_batch // pipelines // case.micro_batches
    assert set(hops) == {entry * samples * case.spec.sequence * case.spec.width}


def test_stages_agree_on_shapes_and_types(pipeline: _Pipeline) -> None:
    said = pipeline.said()
    assert said
    for told, planned in said:
        one, other = ((getattr(meta, "forward_metas", None) or meta.backward_metas)[0]
                      for meta in (told, planned))
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


def test_hops_stay_in_the_pipeline_and_go_to_its_neighbours(pipeline: _Pipeline) -> None:
    groups = pipeline.case.axes.groups("inter_layer")
    for rank, issued in enumerate(pipeline.issued):
        (own,) = [tuple(group) for group in groups if rank in group]
        place = own.index(rank)
        ring = pipeline.case.stages > len(own)
        neighbours = {own[other % len(own)] for other in (place - 1, place + 1)
                      if ring or 0 <= other < len(own)}
        hops = [hop for batch in issued for hop in batch]
        assert {hop[2] for hop in hops} == {own}
        assert {hop[1] for hop in hops} == neighbours


def test_no_pair_of_ranks_waits_for_ever(pipeline: _Pipeline) -> None:
    assert stuck(pipeline.issued) == []


def stuck(issued: list[Issued]) -> list[tuple[int, int]]:
    """Lists the pairs of ranks whose hops, in the order that NCCL keeps, do not come to an end."""
    pairs = {tuple(sorted((rank, hop[1]))) for rank, each in enumerate(issued)
             for batch in each for hop in batch}
    return [(a, b) for a, b in sorted(pairs) if not _ends(_between(issued[a], b),
                                                         _between(issued[b], a))]


def _between(issued: Issued, peer: int) -> Issued:
    batches = [[hop for hop in batch if hop[1] == peer] for batch in issued]
    return [batch for batch in batches if batch]


def _ends(first: Issued, second: Issued) -> bool:
    """Whether two ranks' hops all meet; of each rank only the earliest that are left run."""
    left = [[list(batch) for batch in each] for each in (first, second)]
    while all(left):
        ours, theirs = left[0][0], left[1][0]
        met = next(((one, other) for one in ours for other in theirs
                    if one[0] != other[0] and one[3] == other[3]), None)
        if met is None:
            return False
        ours.remove(met[0])
        theirs.remove(met[1])
        left = [each if each[0] else each[1:] for each in left]
    return not any(left)


def test_a_schedule_that_would_hang_is_found() -> None:
    """Both send first and receive then: side by side that ends, one after the other it does not."""
    def issued(together: bool) -> list[Issued]:
        hops = [[(True, peer, (0, 1), 4), (False, peer, (0, 1), 4)] for peer in (1, 0)]
        return [[both] if together else [[one] for one in both] for both in hops]

    assert stuck(issued(together=True)) == [] and stuck(issued(together=False)) == [(0, 1)]
    missing = issued(together=True)
    missing[1][0].pop()
    assert stuck(missing) == [(0, 1)]


@pytest.mark.parametrize(("device", "stages", "made"), [
    ("cuda", 2, []), ("cuda", 4, [[0, 3]]), ("cpu", 2, [[0, 1]]), ("cpu", 4, [[0, 3]]),
])
def test_ends_of_a_pipeline_have_a_group_more_on_gpus_only_where_there_are_stages_between(
    device: str, stages: int, made: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There each group is a communicator, with memory of its own."""
    case = Case("pytorch", "torch", "inter_layer", "gpipe", "tests.depths:GPT", "eight",
                "synthetic", "cpu", stages)
    session = InterLayerSession.__new__(InterLayerSession)
    session.case, session.spec, session.places = case, case.spec, stages
    session.rank, session.device = Rank(0, stages, Path()), torch.device(device)
    asked: list[list[int]] = []
    monkeypatch.setattr(dist, "new_group", lambda ranks: (asked.append(ranks), "ends")[1])
    monkeypatch.setattr(session, "group", lambda axis: axis)
    session._join_groups()
    assert asked == made and session.ends == ("ends" if made else "inter_layer")
