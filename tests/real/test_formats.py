"""bfloat16 in real processes: cells within the bounds, and planted mistakes outside of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.analysis.parity import Verdict
from suite.analysis.rounding import check_precision
from suite.contract.case import PARITY_STEPS, Case
from suite.contract.splits.strategies import STRATEGIES, TUNED, VARIANTS
from suite.contract.workloads import initial_weights
from tests.conftest import Launch, References
from tests.depths import case_fields
from tests.real.cells import Find, check_payloads, evidence_of, name, parameter, records_of

# Of TensorFlow and Horovod's tensorflow engine; the first of them is not long.
OF_TENSORFLOW = [
    ("tensorflow", ("intra_layer", ""), "mlp"),
    ("tensorflow", ("inter_layer", "gpipe"), "gpt/shallow"),
    *(("tensorflow", ("data", ""), family) for family in ("bert/shallow", "xlnet/shallow")),
    *(("tensorflow", ("data", ""), family) for family in ("resnet", "efficientnet")),
    ("tensorflow", ("data", "multi_worker"), "mlp"),
    ("tensorflow", ("intra_layer", ""), "gpt/shallow"),
    ("tensorflow", ("intra_layer", ""), "efficientnet"),
    ("tensorflow", ("inter_layer", "1f1b"), "xlnet/shallow"),
    ("horovod", ("data", ""), "gpt/shallow"),
]
CELLS = [(strategy, variant) for strategy in STRATEGIES[1:] for variant in VARIANTS[strategy]
         if variant not in TUNED]
RING = ("inter_layer", "interleaved")
DEFAULTS = [(strategy, VARIANTS[strategy][0]) for strategy in STRATEGIES[1:]]


def _case(
    framework: str, cell: tuple[str, str], workload: str, devices: int = 2, engine: str = "torch"
) -> Case:
    placed = framework == "tensorflow" and cell[0] != "data"
    counted = placed or (cell[0] == "intra_layer" and workload == "gpt/shallow")
    return Case(framework, engine, *cell, *case_fields(workload), "real", "cpu", devices, "bf16",
                steps=1, probe_steps=int(counted), warmup_limit=PARITY_STEPS)


def _verdict(case: Case, folder: Path, reference: References) -> Verdict:
    initial = initial_weights(case.spec, case.seed)
    return check_precision(evidence_of(folder), reference(case), initial, "bf16")


def _kept(framework: str, workload: str, cell: tuple[str, str]) -> bool:
    """A transformer in every cell of PyTorch's, batch statistics where they are a replica's, a
    shard's or a micro-batch's, and each strategy of Horovod's, whose variants move the same."""
    if workload == "resnet":
        return framework == "pytorch" and cell in (*DEFAULTS, ("data", "fsdp"))
    return framework == "pytorch" or cell in DEFAULTS


@pytest.mark.parametrize("case", [
    *(parameter(_case(framework, cell, workload), _kept(framework, workload, cell))
      for framework in ("pytorch", "horovod") for cell in CELLS
      for workload in ("gpt" if cell == RING else "gpt/shallow", "resnet")),
    *(pytest.param(_case(framework, cell, workload, engine="tensorflow"),
                   marks=[pytest.mark.long] * bool(number))
      for number, (framework, cell, workload) in enumerate(OF_TENSORFLOW)),
], ids=name)
def test_a_cell_in_bf16(case: Case, ran: Find, reference: References) -> None:
    folder = ran(case)
    verdict = _verdict(case, folder, reference)
    assert verdict.status == "ok", verdict
    if case.probe_steps:
        check_payloads(case, records_of(folder))


@pytest.mark.parametrize(("fault", "caught"), [
    ("none", ""), ("coarse_parameters", "bfloat16 parameters"),
])
def test_fault(
    fault: str, caught: str, start: Launch, reference: References,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAULT", fault)
    case = _case("faulty", ("single", ""), "gpt", 1)
    outcome, folder = start(case)
    assert outcome.status == "ok", outcome.reason
    verdict = _verdict(case, folder, reference)
    assert verdict.status == ("failed" if caught else "ok"), verdict
    assert caught in verdict.reason


def test_a_case_that_does_not_compute_in_its_format_is_no_row(
    start: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULT", "full_precision")
    outcome, _ = start(_case("faulty", ("single", ""), "gpt", 1))
    assert outcome.status == "failed" and "dtype asked bf16" in outcome.reason, outcome.reason
