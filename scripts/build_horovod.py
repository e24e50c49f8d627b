"""Build Horovod against the installed frameworks once, keep the wheel, and install it.

    python scripts/build_horovod.py [WHEEL_DIR]

Without a folder the wheel is kept in the user's cache, so that all checkouts and environments of
this machine share it. Inside, a wheel has a folder named after everything it depends on: this
script and its flags, the interpreter, the versions of the frameworks, and the processor. If that
folder has a wheel already, it is only installed. If the build fails or takes longer than
``LONGEST_S``, the script prints the path of its log and exits with 1.
"""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

from adapters.pytorch.build import has_cuda, release, torch_version
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
# File, what it says and what it shall say: one gloo in C++17 serves both engines, and no debug
# information is written, which nothing reads. Neither changes what the processor executes.
SHORTER = (
    ("horovod/tensorflow/CMakeLists.txt", "LIBS compatible17_gloo", "LIBS gloo"),
    ("CMakeLists.txt", "(DEFINED Tensorflow_CXX17 AND Tensorflow_CXX17)", "FALSE"),
    ("third_party/gloo/CMakeLists.txt", "project(gloo CXX C)",
     "project(gloo CXX C)\nset(CMAKE_CXX_STANDARD 17)"),
    ("third_party/gloo/CMakeLists.txt", "-std=c++11 -fPIC", "-std=c++17 -fPIC"),
    ("CMakeLists.txt", 'string(REPLACE "-O2" "-O3" CMAKE_CXX_FLAGS_RELWITHDEBINFO',
     'string(REPLACE "-g" "" CMAKE_CXX_FLAGS_RELWITHDEBINFO "${CMAKE_CXX_FLAGS_RELWITHDEBINFO}")\n'
     'string(REPLACE "-O2" "-O3" CMAKE_CXX_FLAGS_RELWITHDEBINFO'),
)
# The first release of torch whose headers are C++20; those before are C++17.
CXX20_FROM = (2, 14)
# After this time a build is given up.
LONGEST_S = 3600.0
GPU_OPERATIONS, WITH_TENSORFLOW = "HOROVOD_GPU_OPERATIONS", "HOROVOD_WITH_TENSORFLOW"
LIBRARIES = {"HOROVOD_WITH_PYTORCH": "horovod/torch/mpi_lib_v2",
             WITH_TENSORFLOW: "horovod/tensorflow/mpi_lib"}
# Flag of each engine -> what tells the version of its framework, empty where that is missing.
ENGINES = {"HOROVOD_WITH_PYTORCH": torch_version, WITH_TENSORFLOW: tensorflow_version}


def nccl_headers() -> list[Path]:
    """Returns the places where Horovod's build looks for NCCL's header."""
    named = os.environ.get("HOROVOD_NCCL_HOME")
    own = [Path(named) / "include"] if named else []
    return [*own, Path("/usr/include"), Path("/usr/local/cuda/include")]


def flags() -> dict[str, str]:
    """Returns the environment variables that tell Horovod's build what to build.

    If torch has CUDA, and the toolkit's compiler and NCCL's header are here, Horovod is built with
    NCCL for the torch engine alone, unless the caller sets ``HOROVOD_GPU_OPERATIONS`` to an empty
    value. A build has GPU operations for both engines or for none, and this environment lacks
    TensorFlow's CUDA libraries. Otherwise both engines are built for CPUs. An engine whose
    framework is not installed is left out.
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
    """Builds and installs Horovod; returns 1 if that failed, and 0 otherwise."""
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
    except Exception as error:  # the set-up continues without Horovod
        print(f"Horovod was not built: {error}\nSee {log}", file=sys.stderr)
        return 1
    return 0


def user_cache() -> Path:
    """Returns the user's cache folder (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def key() -> str:
    """Returns the name of a wheel's folder, equal for wheels that this script would build alike."""
    made_of = f"{code_of(Path(__file__).read_text())}{sorted(flags().items())}{_vector_units()}"
    parts = [f"py{sys.version_info.major}{sys.version_info.minor}",
             f"torch{torch_version()}", f"tf{tensorflow_version()}",
             flags().get(GPU_OPERATIONS, "").lower(), platform.machine(),
             hashlib.sha256(made_of.encode()).hexdigest()[:10]]
    return "-".join(filter(None, parts))


def code_of(text: str) -> str:
    """Returns the code of a script without its comments and docstrings, which change no wheel."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node):
            del node.body[0]
    return ast.dump(tree)


def _vector_units() -> list[str]:
    """Returns the vector units of this processor that Horovod's build compiles for."""
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return []
    return sorted({"avx", "f16c", "fma"} & words)


def _build(folder: Path, log: Path) -> Path:
    print(f"Building Horovod {RELEASE} (some minutes); log: {log}", flush=True)
    archive = _download(folder, log)
    # Horovod's CMake files use the path of the source as a regular expression, so the folder must
    # have a plain name.
    with tempfile.TemporaryDirectory(prefix="horovod") as plain:
        shutil.unpack_archive(archive, plain)
        source = Path(plain) / f"horovod-{RELEASE}"
        _edit(source, for_gpus=GPU_OPERATIONS in flags())
        _pip(["wheel", "-v", "--no-build-isolation", "--no-deps", "-w", plain, str(source)], log)
        wheel = next(Path(plain).glob("horovod-*.whl"))
        _check(wheel)
        part = shutil.move(wheel, folder / f".{os.getpid()}.part")
        return Path(part).replace(folder / wheel.name)  # the wheel appears as a whole


def _check(wheel: Path) -> None:
    """Fails if the wheel lacks an engine's library, which Horovod's build does not treat as an
    error.
    """
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
    """Edits the source: C++ as in torch's headers, no XLA, whose header TensorFlow's wheel lacks.

    For CPUs it also removes CUDA. The build would use it if torch knows CUDA, as PyPI's torch does,
    and an nvcc is found; it would then fail without the rest of the toolkit.
    """
    if not for_gpus:
        path = source / "cmake/Modules/FindPytorch.cmake"
        asked = "(torch.version.cuda is not None) and (CUDA_HOME is not None)"
        assert asked in path.read_text()
        path.write_text(path.read_text().replace(asked, "False"))
    standards = {"CMakeLists.txt": 17,
                 "horovod/torch/CMakeLists.txt": 20 if release() >= CXX20_FROM else 17}
    for name, number in standards.items():
        path = source / name
        text = path.read_text()
        path.write_text(text.replace("CXX_STANDARD 14", f"CXX_STANDARD {number}"))
    path = source / "horovod/tensorflow/CMakeLists.txt"
    lines = [line for line in path.read_text().splitlines(True) if "xla_mpi_ops.cc" not in line]
    path.write_text("".join(lines))
    for name, old, new in SHORTER:
        path = source / name
        text = path.read_text()
        if text.count(old) != 1:
            raise RuntimeError(f"{name} has {old!r} {text.count(old)} times, expected once")
        path.write_text(text.replace(old, new))


def _cores() -> int:
    """The cores that this process may use, as far as the system tells."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _pip(arguments: list[str], log: Path) -> None:
    """Runs pip; its words go to the log, and how far a compilation is to the standard output too.

    Raises:
        RuntimeError: It failed, or took longer than ``LONGEST_S`` and was ended.
    """
    environment = os.environ | flags() | {"MAKEFLAGS": f"-j{_cores()}"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    with log.open("a") as stream, subprocess.Popen(
        [sys.executable, "-m", "pip", *arguments], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT, env=environment, errors="replace", start_new_session=True,
    ) as started:
        end = threading.Timer(LONGEST_S, os.killpg, (started.pid, signal.SIGKILL))
        end.daemon = True
        end.start()
        for line in started.stdout or ():
            stream.write(line)
            if "%] Building" in line:
                print(line.strip(), flush=True)
        end.cancel()
    if started.returncode:
        raise RuntimeError(f"pip {arguments[0]} ended with code {started.returncode}")


if __name__ == "__main__":
    sys.exit(main())
