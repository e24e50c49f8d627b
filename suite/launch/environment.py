"""The environment of a worker: built from an allow-list and the adapter's traits, not inherited.

A variable of another job (``TF_CONFIG``, ``http_proxy``, ``TORCH_DISTRIBUTED_DEBUG``) changes or
breaks a worker without a word. So a worker gets only what this module lists, what its adapter asks
for, and what the user passes on by name in ``SUITE_PASS_ENV``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from suite.contract.traits import Traits

ROOT = Path(__file__).resolve().parents[2]
# Names or patterns, comma-separated, that reach the workers besides the allow-list.
PASS = "SUITE_PASS_ENV"
ALLOWED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "CONDA_*", "XDG_*", "CC", "CXX",
    "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "CUDA_PATH", "CUDA_CACHE_*", "NVIDIA_*",
    # Which kernels OpenBLAS takes: on some processors its own choice computes wrongly.
    "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
    "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUTF8",
    # How a rank schedules its communication library's event loops (suite.contract.threads).
    "SUITE_EVENT_LOOPS",
)
# A user who sets one of these expects that it has an effect.
TUNING = (
    "NCCL_*", "GLOO_*", "TF_*", "XLA_*", "TORCH*", "PYTORCH_*", "HOROVOD_*", "OMP_*", "MKL_*",
    "KMP_*", "GOMP_*", "DNNL_*", "ONEDNN_*", "OPENBLAS_*", "PYTHON*", "*_proxy", "*_PROXY",
    "MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK",
)
# The harness sets these for every worker itself.
REPLACED = ("PYTHONPATH", "PYTHONUNBUFFERED")


def worker_environment(
    traits: Traits, temporary: Path, outer: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Variables that every worker of one launch gets, before those of its own rank.

    Args:
        traits: Of the adapter that is launched.
        temporary: A folder of this launch alone, for temporary files.
        outer: The harness's environment.
    """
    passed = (*ALLOWED, *traits.passed, *_asked(outer))
    inherited = {name: value for name, value in outer.items() if _matches(name, passed)}
    # The working directory too: a workload may be named from there.
    paths = filter(None, (str(ROOT), outer.get("PYTHONPATH"), str(Path.cwd())))
    own = {
        "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary),
    }
    return inherited | own | dict(traits.environment)


def dropped_variables(
    traits: Iterable[Traits], outer: Mapping[str, str] = os.environ
) -> list[str]:
    """Names that are set here, would tune or break a framework, and reach no worker."""
    passed = {name for one in traits for name in one.passed}
    kept = (*ALLOWED, *REPLACED, *passed, *_asked(outer))
    return sorted(name for name in outer if _matches(name, TUNING) and not _matches(name, kept))


def _asked(outer: Mapping[str, str]) -> list[str]:
    return [name.strip() for name in outer.get(PASS, "").split(",") if name.strip()]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
