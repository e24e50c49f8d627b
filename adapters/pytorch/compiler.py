"""Finds out whether torch.compile has what it needs on this machine, without importing torch."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path


def problem(device: str) -> str:
    """Returns why torch.compile cannot build kernels for a device; empty if it can."""
    if device == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "torch.compile needs triton on a GPU: install a CUDA build of torch"
        # Triton looks for the same compilers.
        wanted = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
        if not any(map(shutil.which, wanted)):
            return f"torch.compile needs a C compiler, but {wanted[0]} is not found: install gcc"
        return _headers_problem()
    wanted = [os.environ.get("CXX", "g++")]
    if shutil.which(wanted[0]) is None:
        return (f"torch.compile needs a C++ compiler on a CPU, but {wanted[0]} is not found: "
                "install g++")
    return _headers_problem()


def _headers_problem() -> str:
    headers = sysconfig.get_path("include")
    if not (Path(headers) / "Python.h").exists():
        return (f"torch.compile needs Python's headers, which are not in {headers}: install "
                "python3-dev")
    return ""


def own_caches(folder: Path, device: str) -> dict[str, str]:
    """Where a rank keeps what it compiles, and how many processes compile.

    Args:
        folder: Of this rank alone: ranks that compile the same at once would meet in one cache.
        device: ``cpu``, where a second compiling process would leave the core that the rank is
            pinned to, or ``cuda``, where PyTorch takes as many as the rank has cores.

    Returns:
        Variables of the rank.
    """
    caches = {
        "TORCHINDUCTOR_CACHE_DIR": str(folder.resolve()),
        "TRITON_CACHE_DIR": str((folder / "triton").resolve()),
    }
    return caches | ({"TORCHINDUCTOR_COMPILE_THREADS": "1"} if device == "cpu" else {})
