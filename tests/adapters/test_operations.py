"""The operations of each engine take time that grows as the work does."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from suite.contract.operations import Operations


def _torch() -> Operations:
    torch = pytest.importorskip("torch")
    from adapters.pytorch.training.operations import TorchOperations

    torch.set_num_threads(1)
    return TorchOperations(torch.device("cpu"), compiled=False)


def _tensorflow() -> Operations:
    pytest.importorskip("tensorflow")
    from adapters.tensorflow.training.operations import TensorFlowOperations

    return TensorFlowOperations(["/CPU:0"], compiled=False)


def _compiled() -> Operations:
    pytest.importorskip("tensorflow")
    from adapters.tensorflow.training.operations import TensorFlowOperations

    return TensorFlowOperations(["/CPU:0"], compiled=True)


def _seconds(operation: Callable[[], object]) -> float:
    operation()
    found = []
    for _ in range(15):
        start = time.perf_counter()
        operation()
        found.append(time.perf_counter() - start)
    return min(found)


@pytest.mark.alone
@pytest.mark.parametrize("make", [_torch, _tensorflow])
def test_more_work_takes_longer(make: Callable[[], Operations]) -> None:
    ours = make()
    small = _seconds(ours.product((64, 64, 512), 1))
    assert _seconds(ours.product((512, 512, 512), 1)) > 3 * small
    assert _seconds(ours.stream(4 << 20)) > 3 * _seconds(ours.stream(1 << 16))
    assert _seconds(ours.attention((64, 256, 32))) > 3 * _seconds(ours.attention((8, 64, 32)))
    assert _seconds(ours.activation(1 << 20)) > 3 * _seconds(ours.activation(1 << 14))
    assert _seconds(ours.norm(1 << 12, 256)) > 3 * _seconds(ours.norm(1 << 7, 256))
    assert _seconds(ours.layers(8, 24)) > 1.5 * _seconds(ours.layers(8, 4))
    assert _seconds(ours.update(2 << 20)) > 3 * _seconds(ours.update(1024))


@pytest.mark.alone
@pytest.mark.parametrize("make", [_torch, _tensorflow, _compiled])
def test_products_that_are_repeated_are_all_made(make: Callable[[], Operations]) -> None:
    ours = make()
    once = _seconds(ours.product((256, 256, 256), 1))
    assert _seconds(ours.product((256, 256, 256), 8)) > 4 * once
