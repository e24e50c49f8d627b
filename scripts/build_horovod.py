"""Build Horovod once against the installed frameworks, keep the wheel, install it.

    python scripts/build_horovod.py [WHEEL_DIR]

Without a folder the wheel is kept in the user's cache, so that every checkout and environment of
this machine shares it. Its own folder is keyed by what it is made of and for: this script and its
flags, the interpreter, the frameworks' versions, and the processor. A second call only installs.
Exit code 1 and the log's path when the build fails.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from adapters.pytorch.build import has_cuda, torch_version
from adapters.tensorflow.build import tensorflow_version

RELEASE = "0.28.1"
SHA256 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
FLAGS = {
    "HOROVOD_WITH_PYTORCH": "1",
    "HOROVOD_WITH_TENSORFLOW": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "HOROVOD_WITHOUT_MPI": "1",
    "HOROVOD_WITH_GLOO": "1",
    "HOROVOD_CPU_OPERATIONS": "GLOO",
}
GPU_OPERATIONS, WITH_TENSORFLOW = "HOROVOD_GPU_OPERATIONS", "HOROVOD_WITH_TENSORFLOW"
LIBRARIES = {"HOROVOD_WITH_PYTORCH": "horovod/torch/mpi_lib_v2",
             WITH_TENSORFLOW: "horovod/tensorflow/mpi_lib"}
# Flag of each engine -> what tells the version of its framework, empty where that is missing.
ENGINES = {"HOROVOD_WITH_PYTORCH": torch_version, WITH_TENSORFLOW: tensorflow_version}


def nccl_headers() -> list[Path]:
    """Where NCCL's may be, as Horovod's build looks for it."""
    named = os.environ.get("HOROVOD_NCCL_HOME")
    own = [Path(named) / "include"] if named else []
    return [*own, Path("/usr/include"), Path("/usr/local/cuda/include")]


def flags() -> dict[str, str]:
    """What the build reads from its environment.

    NCCL between GPUs where torch has CUDA and the toolkit's compiler and NCCL's header are here,
    unless the caller's ``HOROVOD_GPU_OPERATIONS`` is empty. It is then the torch engine alone: one
    build has GPU operations for both, and TensorFlow's CUDA libraries are not of this environment.
    Else both engines, for CPUs. An engine whose framework is not installed is left out.
    """
    header = any((folder / "nccl.h").exists() for folder in nccl_headers())
    operations = os.environ.get(GPU_OPERATIONS, "NCCL")
    able = shutil.which("nvcc") and header and has_cuda()
    left_out = [flag for flag, version in ENGINES.items() if not version()]
    if not able or not operations:
        return _without(left_out)
    return _without([*left_out, WITH_TENSORFLOW]) | {GPU_OPERATIONS: operations}


def _without(engines: list[str]) -> dict[str, str]:
    """The flags of a build for CPUs without these engines."""
    kept = {name: value for name, value in FLAGS.items() if name not in engines}
    return kept | {flag.replace("_WITH_", "_WITHOUT_"): "1" for flag in engines}


def main() -> int:
    if not any(version() for version in ENGINES.values()):
        print("Horovod was not built: neither torch nor TensorFlow is installed", file=sys.stderr)
        return 1
    root = Path(sys.argv[1]) if sys.argv[1:] else user_cache() / "suite-horovod"
    folder = root.resolve() / key()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    try:
        wheel = next(folder.glob("horovod-*.whl"), None) or _build(folder, log)
        _pip(["install", "--no-deps", "--force-reinstall", str(wheel)], log)
    except Exception as error:  # whatever it is, the rest of the set-up goes on without Horovod
        print(f"Horovod was not built: {error}\nSee {log}", file=sys.stderr)
        return 1
    return 0


def user_cache() -> Path:
    """Where programs keep what they can make again (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def key() -> str:
    """Of a wheel: equal where this script would build the same one."""
    made_of = f"{Path(__file__).read_text()}{sorted(flags().items())}{_vector_units()}"
    parts = [f"py{sys.version_info.major}{sys.version_info.minor}",
             f"torch{torch_version()}", f"tf{tensorflow_version()}",
             flags().get(GPU_OPERATIONS, "").lower(), platform.machine(),
             hashlib.sha256(made_of.encode()).hexdigest()[:10]]
    return "-".join(filter(None, parts))


def _vector_units() -> list[str]:
    """Those that Horovod's build looks for in this processor and compiles for."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return []
    return sorted({"avx", "f16c", "fma"} & words)


def _build(folder: Path, log: Path) -> Path:
    print(f"Building Horovod {RELEASE} (some minutes); log: {log}", flush=True)
    archive = _download(folder, log)
    # Its CMake files use the source's path as a regular expression: a plain folder is needed.
    with tempfile.TemporaryDirectory(prefix="horovod") as plain:
        shutil.unpack_archive(archive, plain)
        source = Path(plain) / f"horovod-{RELEASE}"
        _edit(source, for_gpus=GPU_OPERATIONS in flags())
        _pip(["wheel", "--no-build-isolation", "--no-deps", "-w", plain, str(source)], log)
        wheel = next(Path(plain).glob("horovod-*.whl"))
        _check(wheel)
        part = shutil.move(wheel, folder / f".{os.getpid()}.part")
        return Path(part).replace(folder / wheel.name)  # whole, or not there


def _check(wheel: Path) -> None:
    """Horovod's build may succeed without an engine's library; its rows would fail later."""
    names = zipfile.ZipFile(wheel).namelist()
    for library in [LIBRARIES[flag] for flag in flags() if flag in LIBRARIES]:
        if not any(name.startswith(library) and name.endswith(".so") for name in names):
            raise RuntimeError(f"the wheel lacks {library}")


def _download(folder: Path, log: Path) -> Path:
    archive = folder / f"horovod-{RELEASE}.tar.gz"
    if not archive.exists():
        options = ["--no-deps", "--no-binary", ":all:", "--no-build-isolation"]
        _pip(["download", *options, "-d", str(folder), f"horovod=={RELEASE}"], log)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SHA256:
        raise RuntimeError(f"{archive} has sha256 {digest}, expected {SHA256}; delete it")
    return archive


def _edit(source: Path, for_gpus: bool) -> None:
    """C++17 for today's torch; no XLA path, which needs a header TensorFlow's wheel lacks.

    On CPUs also no CUDA, which the build takes for granted where torch, as PyPI has it, knows CUDA
    and some nvcc is found, and then fails without the rest of the toolkit.
    """
    if not for_gpus:
        path = source / "cmake/Modules/FindPytorch.cmake"
        asked = "(torch.version.cuda is not None) and (CUDA_HOME is not None)"
        assert asked in path.read_text()
        path.write_text(path.read_text().replace(asked, "False"))
    for name in ("CMakeLists.txt", "horovod/torch/CMakeLists.txt"):
        path = source / name
        text = path.read_text()
        path.write_text(text.replace("set(CMAKE_CXX_STANDARD 14)", "set(CMAKE_CXX_STANDARD 17)"))
    path = source / "horovod/tensorflow/CMakeLists.txt"
    lines = [line for line in path.read_text().splitlines(True) if "xla_mpi_ops.cc" not in line]
    path.write_text("".join(lines))


def _pip(arguments: list[str], log: Path) -> None:
    environment = os.environ | flags() | {"MAKEFLAGS": f"-j{os.cpu_count() or 1}"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with log.open("a") as stream:
        command = [sys.executable, "-m", "pip", *arguments]
        subprocess.run(command, check=True, stdout=stream, stderr=stream, env=environment)


if __name__ == "__main__":
    sys.exit(main())
