"""The models in PyTorch against what their workloads say of them."""

from __future__ import annotations

import pytest

from suite.contract.splits.stages import stage_units
from suite.contract.workloads import WORKLOADS, Workload, find_workload, initial_weights

torch = pytest.importorskip("torch")

from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from adapters.pytorch.models import build_model, torch_name  # noqa: E402
from suite.launch.inputs import load_data  # noqa: E402


def _features(spec: Workload) -> torch.Tensor:
    features, _ = load_data(spec, "synthetic", 0)
    batch = torch.from_numpy(features[: spec.global_batch])
    return batch.double() if batch.is_floating_point() else batch.long()


@pytest.mark.parametrize("family", WORKLOADS)
def test_a_model_has_the_parameters_of_its_workload(family: str) -> None:
    spec = find_workload(family, "tiny")
    model = build_model(spec, initial_weights(spec, 0))
    assert dict(model.named_parameters()).keys() == {torch_name(name) for name in spec.shapes()}


@pytest.mark.parametrize("family", WORKLOADS)
def test_stages_in_a_row_are_the_whole_model(family: str) -> None:
    spec = find_workload(family, "tiny")
    weights = initial_weights(spec, 0)
    features = _features(spec)
    whole = build_model(spec, weights).double()(features)
    x, first = features, 0
    groups = stage_units(spec, 2)
    for group in groups:
        stage = build_model(spec, weights, range(first, first + len(group))).double()
        x = stage(x, features=features) if spec.side_input else stage(x)
        first += len(group)
        if first < len(spec.units()):
            assert x.shape[1:] == spec.boundary(first) and x.is_contiguous()
    assert torch.equal(x, whole)


@pytest.mark.parametrize("family", WORKLOADS)
def test_flops_are_those_that_pytorch_counts(family: str) -> None:
    """Forward: backward is twice that by convention, also where the input needs no gradient.

    PyTorch counts products, attention's among them when it is written out, and convolutions. It
    is exact but for XLNet's encodings and segments, which the workload leaves out.
    """
    spec = find_workload(family, "tiny")
    model = build_model(spec, initial_weights(spec, 0)).double()
    features = _features(spec)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(features)
    counted = counter.get_total_flops() / spec.global_batch
    tolerance = 0.05 if spec.side_input else 0.0
    assert counted == pytest.approx(sum(spec.unit_flops().values()), rel=tolerance)


def test_joined_projections_are_the_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler sees one product for query, key and value, of the same parameters."""
    spec = find_workload("gpt", "tiny")
    weights = initial_weights(spec, 0)
    found = []
    for joined in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda joined=joined: joined)
        model = build_model(spec, weights).double()
        with FlopCounterMode(display=False) as counter:
            logits = model(_features(spec))
            logits.square().mean().backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        found.append((logits.detach(), gradients, counter.get_flop_counts()["Global"]))
    (plain, expected, operations), (logits, gradients, fewer) = found
    assert torch.allclose(logits, plain, rtol=1e-12, atol=1e-14)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, expected[name], rtol=1e-9, atol=1e-14), name
    assert sum(fewer.values()) == sum(operations.values())
