"""Builds the environment of a worker from an allow-list and from what its adapter asks for.

A variable that was meant for another job (``TF_CONFIG``, ``http_proxy``,
``TORCH_DISTRIBUTED_DEBUG``) can change or break a worker silently. Therefore a worker does not
inherit the user's environment. It gets only what this module lists, what its adapter asks for, and
what the user passes on by name in ``SUITE_PASS_ENV``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from suite.contract.plugins import WORKING_FOLDER
from suite.contract.traits import Traits

ROOT = Path(__file__).resolve().parents[2]
# In this variable the user lists names or patterns that reach the workers besides the allow-list.
PASS = "SUITE_PASS_ENV"
ALLOWED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "CONDA_*", "XDG_*", "CC", "CXX",
    "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_PATH", "CUDA_CACHE_*",
    # What a container shows of its GPUs. Not NVIDIA_*: NVIDIA_TF32_OVERRIDE changes the arithmetic.
    "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_REQUIRE_*",
    # Chooses the kernels of OpenBLAS, whose own choice computes wrong results on some processors.
    "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
    "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUTF8",
    # Says how a rank schedules its communication library's event loops (suite.contract.threads).
    "SUITE_EVENT_LOOPS",
)
# A user who sets one of these expects it to have an effect, so a run says if it has none.
TUNING = (
    "NCCL_*", "GLOO_*", "TF_*", "XLA_*", "TORCH*", "PYTORCH_*", "HOROVOD_*", "OMP_*", "MKL_*",
    "KMP_*", "GOMP_*", "DNNL_*", "ONEDNN_*", "OPENBLAS_*", "PYTHON*", "*_proxy", "*_PROXY",
    "NVIDIA_TF32_OVERRIDE", "CUBLAS_*", "CUDNN_*", "CUDA_LAUNCH_BLOCKING", "MALLOC_*",
    "GLIBC_TUNABLES", "MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK",
)
# Terraform's, which begin like TensorFlow's.
NOT_TUNING = ("TF_CLI_*", "TF_VAR_*", "TF_LOG*", "TF_DATA_DIR", "TF_WORKSPACE", "TF_INPUT")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
# The harness itself sets these for every worker.
REPLACED = ("PYTHONPATH", "PYTHONUNBUFFERED")
# torchrun and Kubernetes' operators tell each process its place by these; the harness reads them.
PLACING = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_*")


def worker_environment(
    traits: Traits, temporary: Path, outer: Mapping[str, str] = os.environ,
    peers: Sequence[str] = (),
) -> dict[str, str]:
    """Returns the variables that every worker of a launch gets; those of single ranks are added
    later.

    Args:
        traits: The traits of the adapter that is launched.
        temporary: A folder for temporary files that belongs to this launch alone.
        outer: The environment of the harness.
        peers: Names and addresses of the hosts of a launch that spans several.
    """
    passed = (*ALLOWED, *traits.passed, *_asked(outer))
    inherited = {name: value for name, value in outer.items() if _matches(name, passed)}
    paths = filter(None, (str(ROOT), outer.get("PYTHONPATH")))
    own = {
        "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary),
        # CUDA would number GPUs by their speed; NVML, which the harness asks, goes by their place.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        # A user may name a workload that lies here. On PYTHONPATH a file there that is called like
        # a module of Python or of a framework would hide it from every worker.
        WORKING_FOLDER: str(Path.cwd()),
    }
    return inherited | own | _without_proxy(inherited, peers) | dict(traits.environment)


def _without_proxy(passed: Mapping[str, str], peers: Sequence[str]) -> dict[str, str]:
    """Keeps what a job says to its own hosts away from a proxy that a user passes on.

    gRPC asks the proxy for every address that ``no_proxy`` does not name, its own host's too.
    """
    if not any(_matches(name, ("*_proxy", "*_PROXY")) for name in passed):
        return {}
    known = (passed.get("no_proxy") or passed.get("NO_PROXY") or "").split(",")
    own = (*LOOPBACK, socket.gethostname(), *peers)
    hosts = ",".join(dict.fromkeys(filter(None, (*known, *own))))
    return {"no_proxy": hosts, "NO_PROXY": hosts, "no_grpc_proxy": hosts}


def dropped_variables(
    traits: Iterable[Traits], outer: Mapping[str, str] = os.environ, placed: bool = False
) -> list[str]:
    """Names the variables that are set here and would affect a framework, but reach no worker.

    Args:
        traits: The traits of the adapters that will run.
        outer: The environment of the harness.
        placed: Whether the harness itself was started as one of several and reads its place.
    """
    passed = {name for one in traits for name in one.passed}
    kept = (*ALLOWED, *REPLACED, *NOT_TUNING, *(PLACING if placed else ()), *passed, *_asked(outer))
    return sorted(name for name in outer if _matches(name, TUNING) and not _matches(name, kept))


def _asked(outer: Mapping[str, str]) -> list[str]:
    return [name.strip() for name in outer.get(PASS, "").split(",") if name.strip()]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
