"""Padded vocabularies in the models: losses and gradients are those without padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from suite.contract.workloads import Weights, Workload, initial_weights, sized_workload
from suite.launch.inputs import load_data

FAMILIES = ("gpt", "bert", "xlnet")
# 256 or 257 tokens become 300.
MULTIPLE = 100


def _batch(spec: Workload) -> tuple[np.ndarray, np.ndarray]:
    features, targets = load_data(spec, "real", 0)
    return features[: spec.global_batch], targets[: spec.global_batch]


def _torch(spec: Workload, dtype: str) -> tuple[float, Weights]:
    torch = pytest.importorskip("torch")
    from adapters.pytorch.models import build_model, loss_function, to_canonical, torch_name

    model = build_model(spec, initial_weights(spec, 0))
    x, y = (torch.from_numpy(array).long() for array in _batch(spec))
    kind = getattr(torch, dtype)
    model = model.double() if dtype == "float64" else model
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        loss = loss_function(spec)(model(x), y)
    loss.backward()
    parameters = dict(model.named_parameters())
    return float(loss.detach()), {name: to_canonical(name, parameters[torch_name(name)].grad)
                         for name in spec.shapes()}


def _tensorflow(spec: Workload, dtype: str, compiled: bool = False) -> tuple[float, Weights]:
    tf = pytest.importorskip("tensorflow")
    from adapters.tensorflow.models import forward, loss_function

    weights = {name: tf.Variable(tf.cast(array, dtype))
               for name, array in initial_weights(spec, 0).items()}
    x, y = map(tf.constant, _batch(spec))

    @tf.function(autograph=False, jit_compile=compiled)
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = loss_function(spec)(forward(spec, weights, x), y)
        found = tape.gradient(loss, weights)
        return loss, {name: tf.convert_to_tensor(found[name]) for name in weights}

    loss, gradients = step()
    return float(loss), {name: tf.cast(found, "float64").numpy()
                         for name, found in gradients.items()}


@pytest.mark.parametrize(("family", "computed"), [
    *((family, _torch) for family in FAMILIES), ("gpt", _tensorflow), ("bert", _tensorflow),
    pytest.param("xlnet", _tensorflow, marks=pytest.mark.long),
], ids=lambda one: getattr(one, "__name__", one))
def test_the_loss_is_of_the_real_vocabulary(family: str, computed: Any) -> None:
    """In float64, where rounding hides nothing. The padding's own gradients are 0, not small."""
    own = sized_workload(family, "tiny")
    padded = sized_workload(family, "tiny", padded=MULTIPLE)
    loss, gradients = computed(own, "float64")
    found, of_padded = computed(padded, "float64")
    assert found == pytest.approx(loss, rel=1e-13)
    for name, expected in gradients.items():
        array = of_padded[name]
        assert np.allclose(array[: len(expected)], expected, rtol=1e-9, atol=1e-13), name
        assert not array[len(expected):].any(), name
    assert len(of_padded["embed.token.table"]) == 300


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_sees_no_padding_either(family: str) -> None:
    padded = sized_workload(family, "tiny", padded=MULTIPLE)
    loss, gradients = _torch(padded, "bfloat16")
    assert np.isfinite(loss) and not gradients["embed.token.table"][-43:].any()


def test_xla_sees_no_padding_either() -> None:
    padded = sized_workload("gpt", "tiny", padded=MULTIPLE)
    loss, gradients = _tensorflow(padded, "float32", compiled=True)
    expected, _ = _tensorflow(sized_workload("gpt", "tiny"), "float32")
    assert loss == pytest.approx(expected, rel=1e-6)
    assert not gradients["embed.token.table"][-44:].any()
