"""TensorFlow's number formats in one process: what is lowered, what is not, and what is found."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from suite.analysis.rounding import GRADIENT, LEAST_IN_U, LOSSES_IN_U, ROUNDOFF
from suite.contract.case import Case
from suite.contract.workloads import WORKLOADS, Workload, initial_weights, sized_workload
from suite.launch.inputs import load_data

tf = pytest.importorskip("tensorflow")

from adapters.tensorflow.models import forward, loss_function  # noqa: E402
from adapters.tensorflow.training import found, single  # noqa: E402

U = ROUNDOFF["bf16"]


def _graph(
    spec: Workload, kind: Any, low: Any, recompute: bool = False, compiled: bool = False
) -> tuple[Any, Any]:
    """Returns a graph of loss and gradients, and its variables."""
    weights = {name: tf.Variable(tf.cast(array, kind), name=name)
               for name, array in initial_weights(spec, 0).items()}
    x, y = (array[: spec.global_batch] for array in load_data(spec, "synthetic", 0))

    @tf.function(autograph=False, jit_compile=compiled)
    def step() -> Any:
        features = tf.constant(x)
        if features.dtype.is_floating:
            features = tf.cast(features, kind)
        with tf.GradientTape() as tape:
            logits = forward(spec, weights, features, recompute=recompute, low=low)
            loss = loss_function(spec)(logits, tf.constant(y))
        gradients = tape.gradient(loss, weights)
        return loss, {name: tf.convert_to_tensor(gradients[name]) for name in weights}

    return step, weights


def _norm(arrays: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(array, dtype=float)) for array in arrays)))


@pytest.mark.parametrize("family", [
    pytest.param(family, marks=[pytest.mark.long] * (family in ("xlnet", "efficientnet")))
    for family in WORKLOADS
])
def test_products_are_lowered_and_nothing_else(family: str) -> None:
    """Within the bounds of a proof, further from float64 than float32 is, gradients float32."""
    spec = sized_workload(family, "tiny")
    graph, weights = _graph(spec, tf.float32, tf.bfloat16)
    loss, gradients = graph()
    expected, exact = _graph(spec, tf.float64, None)[0]()
    assert {gradient.dtype for gradient in gradients.values()} == {tf.float32}
    assert loss.dtype == tf.float32 and found.product_types(graph, ()) == {"bfloat16"}
    assert abs(float(loss) / float(expected) - 1) < LOSSES_IN_U * U
    apart = _norm([gradients[name].numpy() - exact[name].numpy() for name in weights])
    share = apart / _norm([gradient.numpy() for gradient in exact.values()])
    assert LEAST_IN_U * U < share < GRADIENT
    assert found.number_format(weights.values(), "bf16", False, graph, ()) == "bf16"


@pytest.mark.parametrize("family", ["mlp", "resnet"])
def test_xla_compiles_the_same_loss(family: str) -> None:
    spec = sized_workload(family, "tiny")
    loss, _ = _graph(spec, tf.float32, tf.bfloat16, compiled=True)[0]()
    expected, _ = _graph(spec, tf.float64, None)[0]()
    assert abs(float(loss) / float(expected) - 1) < LOSSES_IN_U * U


def test_a_recomputed_unit_is_lowered_again() -> None:
    graph, _ = _graph(sized_workload("gpt", "tiny"), tf.float32, tf.bfloat16, recompute=True)
    graph()
    assert found.product_types(graph, ()) == {"bfloat16"}


def test_full_precision_is_not_taken_for_bf16() -> None:
    graph, weights = _graph(sized_workload("mlp", "tiny"), tf.float32, None)
    graph()
    assert found.number_format(weights.values(), "bf16", False, graph, ()) == "float32"


@pytest.mark.parametrize(("asked", "rounded", "named"), [
    ("tf32", True, "tf32"), ("tf32", False, "float32"), ("float32", False, "float32"),
    # The ledger's entry tf32 is held against the case by itself.
    ("float32", True, "float32"),
])
def test_tf32_is_found_and_not_believed(asked: str, rounded: bool, named: str) -> None:
    variables = [tf.Variable(1.0)]
    assert found.number_format(variables, asked, rounded, None, ()) == named


@pytest.mark.parametrize(("dtype", "on"), [
    ("tf32", True), ("float32", False), ("bf16", False), ("float64", False),
])
def test_tf32_is_switched_for_gpus_as_the_case_asks(
    dtype: str, on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched: list[bool] = []
    threading = SimpleNamespace(set_intra_op_parallelism_threads=lambda count: None,
                                set_inter_op_parallelism_threads=lambda count: None)
    monkeypatch.setattr(single.tf.config, "threading", threading)
    monkeypatch.setattr(single.tf.config, "list_physical_devices", lambda kind: ["GPU"])
    monkeypatch.setattr(single.tf.config.experimental, "enable_tensor_float_32_execution",
                        switched.append)
    case = Case("tensorflow", "tensorflow", "single", "", "mlp", "tiny", "real", "cuda", 1, dtype)
    assert single.open_devices(case, 1) == ["/GPU:0"] and switched == [on]
