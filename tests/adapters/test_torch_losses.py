"""The losses in PyTorch against PyTorch's own: values, gradients, formats, and what they hold."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest

from suite.contract.workloads import find_workload, initial_weights
from suite.contract.workloads.transformer import NOT_PREDICTED

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

from adapters.pytorch.models import build_model, loss_function, losses  # noqa: E402
from adapters.pytorch.training.joined_loss import join_loss  # noqa: E402
from adapters.pytorch.training.number_format import autocast  # noqa: E402

BATCH, SEQUENCE, VOCABULARY, PREDICTED = 3, 8, 11, 2


@pytest.fixture
def however_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits of any number are overwritten."""
    monkeypatch.setattr(losses, "FEWEST_ENTRIES", 0)


def _batch(predicted: int, dtype: Any = torch.float32) -> tuple[Any, Any]:
    """Logits of very different sizes, and targets of which each sample has that many."""
    generator = torch.Generator().manual_seed(0)
    logits = 30 * torch.randn(BATCH, SEQUENCE, VOCABULARY, generator=generator)
    targets = torch.randint(VOCABULARY, (BATCH, SEQUENCE), generator=generator)
    for row in targets:
        row[torch.randperm(SEQUENCE, generator=generator)[predicted:]] = NOT_PREDICTED
    return logits.to(dtype), targets


def _plain(logits: Any, targets: Any) -> Any:
    """As its documentation has it: over the positions that have a target."""
    return functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=NOT_PREDICTED)


def _found(loss: Callable[..., Any], logits: Any, targets: Any) -> tuple[Any, Any]:
    """A loss and its gradient; the loss is weighted, as that of a micro-batch is."""
    source = logits.clone().requires_grad_()
    value = loss(source * 1, targets) / 4
    value.backward()
    return value.detach(), source.grad


@pytest.mark.usefixtures("however_few")
@pytest.mark.parametrize("at_once", [1, 7 * VOCABULARY, 1 << 20])
@pytest.mark.parametrize("predicted", [PREDICTED, SEQUENCE])
def test_the_loss_and_its_gradient_are_those_of_pytorch(
    predicted: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(losses.ENTRIES_AT_ONCE, "cpu", at_once)
    loss = (losses.token_cross_entropy if predicted == SEQUENCE
            else losses.predicted_cross_entropy(predicted))
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-6)):
        logits, targets = _batch(predicted, dtype)
        expected, slope = _found(_plain, logits, targets)
        value, gradient = _found(loss, logits, targets)
        assert value.dtype == gradient.dtype == dtype
        torch.testing.assert_close(value, expected, rtol=tolerance, atol=0)
        torch.testing.assert_close(gradient, slope, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.usefixtures("however_few")
def test_the_loss_of_bfloat16_is_computed_in_float32() -> None:
    """Only the gradient is rounded, once."""
    logits, targets = _batch(SEQUENCE, torch.bfloat16)
    expected, slope = _found(_plain, logits.float(), targets)
    value, gradient = _found(losses.token_cross_entropy, logits, targets)
    assert value.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient.float(), slope, rtol=2.0**-8, atol=1e-9)


@pytest.mark.parametrize("loss", [losses.class_cross_entropy, losses.binary_cross_entropy])
def test_few_classes_are_computed_in_float32_too(loss: Callable[..., Any]) -> None:
    logits = torch.tensor([[3.0, 0.1]], dtype=torch.bfloat16)
    binary = loss is losses.binary_cross_entropy
    logits, targets = (logits[0, :, None], torch.tensor([1.0, 0.0])) if binary else (
        logits, torch.tensor([1]))
    value = loss(logits, targets)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.float(), targets), rtol=0, atol=0)


@pytest.mark.parametrize(("predicted", "copies"), [(0, 0.2), (1, 1.2)])
def test_the_loss_holds_no_copies_of_the_logits(predicted: int, copies: float) -> None:
    """PyTorch's own adds three; of predicted positions the gradient is a tensor of its own.

    What the allocator handed out is counted, since what the process holds also has pages of
    libraries in it, as many as the kernel maps at once.
    """
    source = torch.randn(16, 32, 16384).requires_grad_()
    targets = torch.zeros(16, 32, dtype=torch.long)
    if predicted:
        targets[:, predicted:] = NOT_PREDICTED
    loss = losses.predicted_cross_entropy(1) if predicted else losses.token_cross_entropy
    assert _copies_held(loss, source, targets) < copies
    assert _copies_held(_plain, source, targets) > 2.9


def _copies_held(loss: Callable[..., Any], source: Any, targets: Any) -> float:
    """How many copies of the logits a loss and its gradient add to memory, at their most."""
    logits = source * 1
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        torch.autograd.grad(loss(logits, targets), logits)
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]")
    return max(accumulate(change for _, change in changes)) / logits.nbytes


def test_few_logits_are_left_to_pytorch() -> None:
    logits, targets = _batch(SEQUENCE)
    value = losses.token_cross_entropy(logits.requires_grad_() * 1, targets)
    assert "NllLoss" in type(value.grad_fn).__name__


@pytest.mark.usefixtures("however_few")
def test_a_loss_that_is_kept_does_not_keep_the_gradient() -> None:
    logits, targets = _batch(SEQUENCE)
    value = losses.token_cross_entropy(logits.requires_grad_() * 1, targets)
    assert value.grad_fn.gradient is not None
    value.backward()
    assert value.grad_fn.gradient is None


@pytest.mark.usefixtures("however_few")
def test_what_needs_the_logits_afterwards_is_told() -> None:
    """The exponential's gradient is its result, which the loss has overwritten."""
    logits, targets = _batch(SEQUENCE)
    value = losses.token_cross_entropy((logits.requires_grad_() / 30).exp(), targets)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


@pytest.mark.parametrize("family", ["gpt", "bert", "mlp"])
def test_a_compiled_model_and_its_loss_are_one_graph(family: str) -> None:
    spec = find_workload(family, "tiny")
    from suite.launch.inputs import load_data

    features, targets = (torch.from_numpy(array[: spec.global_batch])
                         for array in load_data(spec, "synthetic", 0))
    features = features if features.is_floating_point() else features.long()
    model, loss = build_model(spec, initial_weights(spec, 0)), loss_function(spec)
    expected = loss(model(features), targets.long())
    graphs: list[Any] = []

    def compiler(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    autocast(model, "cpu")
    marked = model.forward
    join_loss(model, loss)
    assert model.forward.computes_in == marked.computes_in
    model.compile(backend=compiler)
    found = model(features, targets.long())
    assert len(graphs) == 1 and found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0)
