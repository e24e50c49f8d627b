"""What recomputed units keep and compute, in one process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from suite.contract.errors import UsageError
from suite.contract.workloads import find_workload, initial_weights

FAMILIES = ["gpt", "bert", "xlnet", "resnet", "efficientnet"]


def _batch(spec: Any, samples: int = 2) -> np.ndarray:
    field = spec.features
    generator = np.random.default_rng(0)
    if field.classes:
        found = generator.integers(field.lowest, field.classes, (samples, *field.shape))
        return found.astype(field.dtype)
    return generator.standard_normal((samples, *field.shape)).astype(field.dtype)


@pytest.mark.parametrize("family", FAMILIES)
def test_torch_keeps_less_and_finds_the_same_gradients(family: str) -> None:
    torch = pytest.importorskip("torch")
    from adapters.pytorch.models import build_model
    from adapters.pytorch.training.recompute import recompute_units

    spec = find_workload(family, "tiny")
    batch = torch.from_numpy(_batch(spec))
    batch = batch if batch.is_floating_point() else batch.long()

    def kept(recompute: bool) -> tuple[int, list[Any]]:
        model = build_model(spec, initial_weights(spec, 0))
        if recompute:
            recompute_units(model)
        held: dict[int, int] = {}

        def pack(tensor: Any) -> Any:
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = model(batch).square().mean()
        whole = sum(held.values())
        loss.backward()
        return whole, [parameter.grad for parameter in model.parameters()]

    (whole, expected), (less, found) = kept(False), kept(True)
    assert less < 0.8 * whole
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_tensorflow_computes_units_twice_and_finds_the_same_gradients(family: str) -> None:
    tf = pytest.importorskip("tensorflow")
    from adapters.tensorflow.models import dense_gradients, forward

    spec = find_workload(family, "tiny")
    weights = {name: tf.Variable(array) for name, array in initial_weights(spec, 0).items()}
    batch = tf.constant(_batch(spec))

    def computed(recompute: bool) -> tuple[int, dict[str, Any]]:
        @tf.function(autograph=False)
        def gradients(x: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(forward(spec, weights, x, recompute=recompute) ** 2)
            return dense_gradients(tape.gradient(loss, weights))

        operations = gradients.get_concrete_function(batch).graph.get_operations()
        products = sum(one.type in ("MatMul", "BatchMatMulV2", "Conv2D") for one in operations)
        return products, gradients(batch)

    (once, expected), (again, found) = computed(False), computed(True)
    assert again > once
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_a_model_without_units_is_not_recomputed_in_name_alone(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorflow")
    from adapters.tensorflow import models

    spec = find_workload("gpt", "tiny")
    own = SimpleNamespace(forward=lambda spec, weights, x, units, apply: x)
    monkeypatch.setattr(models, "import_module", lambda name: own)
    assert models.forward(spec, {}, 1.0) == 1.0
    with pytest.raises(UsageError, match=r"got 0, expected 4, so that they can be recomputed"):
        models.forward(spec, {}, 1.0, recompute=True)
