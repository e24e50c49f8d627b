"""Code for GPUs with tensors that claim to be on one: mixed devices and formats show here.

Fake tensors have shapes, formats and devices and no values. A build of PyTorch without CUDA lacks
only the guard that makes a device the current one; a few compiled lines give it one that does
nothing. Its autograd engine needs a real device, so a backward pass is not among the tests.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from adapters.pytorch.models import losses  # noqa: E402
from adapters.pytorch.training.single import Training  # noqa: E402
from suite.contract.adapter import Inputs  # noqa: E402
from suite.contract.case import Case, Rank  # noqa: E402
from suite.contract.workloads import DEFAULT_SIZES, initial_weights  # noqa: E402
from suite.launch.inputs import load_data  # noqa: E402
from suite.measure.proof_limits import training_bytes  # noqa: E402

GUARD = """#include <c10/core/impl/DeviceGuardImplInterface.h>
namespace c10::impl { C10_REGISTER_GUARD_IMPL(CUDA, NoOpDeviceGuardImpl<DeviceType::CUDA>) }
"""
FORMATS = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
# Where a normalisation or a bias in float32 follows the last product.
FLOAT32_LOGITS = ("bert", "xlnet")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lets the process name CUDA devices; it has no effect on any other test."""
    if torch.version.cuda:
        return
    if not shutil.which("g++"):
        pytest.skip("needs a C++ compiler")
    folder, home = tmp_path_factory.mktemp("guard"), Path(torch.__file__).parent
    (folder / "guard.cpp").write_text(GUARD)
    command = ["g++", "-std=c++20", "-shared", "-fPIC", f"-I{home / 'include'}",
               str(folder / "guard.cpp"), "-o", str(folder / "guard.so"), f"-L{home / 'lib'}",
               "-lc10"]
    subprocess.run(command, check=True)
    ctypes.CDLL(str(folder / "guard.so"))


@pytest.fixture
def fake_gpu(guarded: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.nn.Module, "_apply", _moved)
    with FakeTensorMode():
        yield


def _moved(module: Any, change: Any, recurse: bool = True) -> Any:
    """``Module._apply`` swaps the tensors of parameters, which fake ones do not allow."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(change(parameter.detach()))
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else change(buffer)
    return module


def _session(workload: str, dtype: str = "float32", mode: str = "eager") -> Training:
    case = Case("pytorch", "torch", "single", "", workload, DEFAULT_SIZES[workload], "synthetic",
                "cuda", 1, dtype=dtype, mode=mode)
    arrays = load_data(case.spec, "synthetic", 0)
    return Training(case, Rank(0, 1, Path()), initial_weights(case.spec, 0),
                    Inputs(*arrays, case.spec.global_batch), torch.device("cuda", 0))


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("workload", DEFAULT_SIZES)
def test_a_step_stays_on_its_gpu_and_in_its_format(workload: str, dtype: str) -> None:
    session = _session(workload, dtype)
    features, targets = session.batches[0]
    logits = session.model(features)
    loss = session.loss_function(logits, targets)
    assert {features.device.type, targets.device.type, logits.device.type} == {"cuda"}
    assert (loss.device.type, loss.dtype, loss.shape) == ("cuda", torch.float32, ())
    # Once, when the batches come; autocast would do it in each step.
    assert features.dtype == (FORMATS[dtype] if features.is_floating_point() else torch.long)
    assert session.optimizer.defaults["fused"]
    if workload not in FLOAT32_LOGITS:
        assert logits.dtype == FORMATS[dtype]
    # Parameters, gradients and moments stay in float32 whatever is computed in.
    for parameter in session.model.parameters():
        parameter.grad = torch.empty_like(parameter)
    session.optimizer.step()
    moments = [value for state in session.optimizer.state.values() for value in state.values()]
    held = [*session.model.parameters(), *moments]
    assert {(one.device.type, one.dtype) for one in held} == {("cuda", torch.float32)}


@pytest.mark.usefixtures("fake_gpu")
@pytest.mark.parametrize("workload", DEFAULT_SIZES)
def test_the_estimate_of_memory_is_what_a_session_holds(workload: str) -> None:
    session = _session(workload)
    parameters = list(session.model.parameters())
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    session.optimizer.step()
    tensors = [*parameters, *(one.grad for one in parameters), *(
        state[name] for state in session.optimizer.state.values()
        for name in ("exp_avg", "exp_avg_sq")
    )]
    held = sum(one.numel() * one.element_size() for one in tensors)
    assert held == training_bytes(session.case)


@pytest.mark.usefixtures("fake_gpu")
def test_a_tensor_that_was_left_on_the_host_is_found() -> None:
    session = _session("gpt")
    features, targets = session.batches[0]
    with pytest.raises(RuntimeError, match="to be on the same device"):
        session.loss_function(session.model(features), targets.cpu())


class _Launches(TorchDispatchMode):
    """Counts the kernels that a GPU would be given, and the most entries that one of them writes.

    Views are the host's bookkeeping.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count, self.entries = 0, 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if not function.is_view and isinstance(result, torch.Tensor):
            self.count += 1
            self.entries = max(self.entries, result.numel())
        return result


@pytest.mark.usefixtures("fake_gpu")
def test_the_loss_of_a_large_model_is_few_kernels_and_little_memory() -> None:
    """Of GPT-2's 412 million logits: pieces that fit a CPU's caches were 4,900 short kernels."""
    logits = torch.empty(8 * 1024, 50257, dtype=torch.bfloat16, device="cuda")
    targets = torch.empty(8 * 1024, dtype=torch.long, device="cuda")
    with _Launches() as seen:
        losses._CrossEntropy.forward(SimpleNamespace(), logits, targets)
    assert seen.count < 100
    assert seen.entries < logits.numel() / 6


@pytest.mark.usefixtures("guarded")
def test_the_guard_leaves_cpus_as_they_are() -> None:
    weight = torch.ones(3, requires_grad=True)
    (weight * 2).sum().backward()
    assert weight.grad.tolist() == [2.0] * 3 and not torch.cuda._is_compiled()


@pytest.mark.parametrize(("device", "shared", "asked", "release", "backend"), [
    ("cpu", False, "", (2, 30, 1), "gloo"), ("cuda", False, "", (2, 27, 3), "nccl"),
    ("cuda", True, "", (2, 30, 1), "gloo"), ("cuda", True, "1", (2, 30, 1), "nccl"),
    ("cuda", True, "1", (2, 27, 3), "gloo"), ("cuda", True, "0", (2, 30, 1), "gloo"),
])
def test_ranks_meet_where_their_devices_allow_it(
    monkeypatch: pytest.MonkeyPatch, device: str, shared: bool, asked: str,
    release: tuple[int, ...], backend: str,
) -> None:
    from adapters.pytorch.splits import group

    joined: list[str] = []
    monkeypatch.setattr(
        group.dist, "init_process_group", lambda name, *_, **__: joined.append(name))
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: release)
    monkeypatch.setenv("SUITE_INIT_METHOD", "file:///nowhere")
    monkeypatch.setenv("NCCL_MULTI_RANK_GPU_ENABLE", asked)
    group.join_group(Rank(0, 2, Path()), torch.device(device), shared)
    assert joined == [backend]
