"""Horovod's sources through CMake, as far as a machine without a GPU or without time can go.

    python -m scripts.horovod_cmake [FOLDER]      (make horovod-nccl)

compiles and links what Horovod needs for GPUs: its CUDA kernels, and each engine with NCCL whose
framework can be compiled against here. That is TensorFlow with any build of it; PyTorch's
extensions for GPUs want a torch with CUDA. Nothing is installed and no GPU is needed, but nvcc is.
NCCL is that of ``HOROVOD_NCCL_HOME``, or of the wheel ``nvidia-nccl-cu13`` (300 MB), which is then
kept in FOLDER. Exits with 3 where this machine lacks what it needs, and with 1 if it fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from adapters.pytorch.build import has_cuda, torch_version
from adapters.tensorflow.build import tensorflow_version
from scripts import build_horovod

NCCL_WHEEL = "nvidia-nccl-cu13"
BUILD_TYPE = "RelWithDebInfo"
KERNELS = "horovod_cuda_kernels"
# What a library that is linked with NCCL contains.
NEEDED_OF_NCCL = (b"libnccl.so", b"ncclAllReduce")
# How nvcc names the folder of its toolkit when it is asked what it would do.
TOP = re.compile(r"^#\$ TOP=(.+)$", re.MULTILINE)


def main() -> int:
    """Compiles Horovod with NCCL; returns 0, 1 if that failed, or 3 if something is missing."""
    engines = gpu_engines()
    if missing := lacking(engines):
        print(f"not compiled: {', '.join(missing)}", file=sys.stderr)
        return 3
    folder = Path(sys.argv[1] if sys.argv[1:] else "results/horovod-nccl").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    environment = gpu_environment(engines, nccl_home(folder, log))
    archive = build_horovod._download(folder, log)
    print(f"compiling {', '.join([KERNELS, *engines])} (some minutes); log: {log}", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="horovod") as plain:
            place = configure(archive, Path(plain), environment, log)
            build(place, [KERNELS, *engines], environment, log)
            libraries = linked(place)
    except subprocess.CalledProcessError as error:
        print(f"failed: {error}\nSee {log}", file=sys.stderr)
        return 1
    print(f"compiled with NCCL: {', '.join(engines)} ({', '.join(libraries) or 'no library'})")
    return 0 if len(libraries) == len(engines) else 1


def gpu_engines() -> list[str]:
    """The engines that can be compiled for GPUs here, by the names of their CMake targets."""
    found = ["tensorflow"] if tensorflow_version() else []
    return [*found, "pytorch"] if torch_version() and has_cuda() else found


def lacking(engines: list[str]) -> list[str]:
    """What is needed and not here, in words."""
    tools = {"nvcc": "the CUDA toolkit has it", "cmake": "requirements.txt has it",
             "g++": "build-essential has it"}
    found = [f"{name} is not found ({where})" for name, where in tools.items()
             if not shutil.which(name, path=tool_path())]
    return found + ([] if engines else ["neither TensorFlow nor a torch with CUDA is installed"])


def tool_path() -> str:
    """Where tools are looked for: this environment's first, and the toolkit's usual place."""
    own = Path(sys.executable).parent
    return f"{own}{os.pathsep}{os.environ.get('PATH', '')}{os.pathsep}/usr/local/cuda/bin"


def cuda_home() -> dict[str, str]:
    """The variables that name the toolkit to Horovod's build and to torch's; empty if unknown.

    Both take the folder above nvcc's for the toolkit, which holds nothing of it where the nvcc in
    the PATH is a script that calls another one. So nvcc itself is asked.
    """
    compiler = shutil.which("nvcc", path=tool_path())
    named = os.environ.get("HOROVOD_CUDA_HOME") or os.environ.get("CUDA_HOME")
    if compiler and not named:
        would = subprocess.run([compiler, "--dryrun", "-x", "cu", os.devnull], check=False,
                               capture_output=True, text=True, timeout=60)
        found = TOP.search(would.stderr)
        named = str(Path(found[1]).resolve()) if found else ""
    return {"HOROVOD_CUDA_HOME": named, "CUDA_HOME": named} if named else {}


def nccl_home(folder: Path, log: Path) -> Path:
    """The folder with NCCL's ``include`` and ``lib``, unpacked from its wheel if none is named."""
    if named := os.environ.get("HOROVOD_NCCL_HOME"):
        return Path(named)
    home = folder / "nvidia" / "nccl"
    if not (home / "include" / "nccl.h").exists():
        build_horovod._pip(["download", "--no-deps", "-d", str(folder), NCCL_WHEEL], log)
        (wheel,) = folder.glob("nvidia_nccl*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()
    (library,) = (home / "lib").glob("libnccl.so.*")
    shared = home / "lib" / "libnccl.so"
    if not shared.exists():
        shared.symlink_to(library.name)
    return home


def gpu_environment(engines: list[str], home: Path) -> dict[str, str]:
    """What tells Horovod's build to take NCCL, and to leave the other engines out."""
    without = [flag for flag, engine in (("HOROVOD_WITH_TENSORFLOW", "tensorflow"),
                                         ("HOROVOD_WITH_PYTORCH", "pytorch"))
               if engine not in engines]
    return {**build_horovod._without(without), **cuda_home(), build_horovod.GPU_OPERATIONS: "NCCL",
            "HOROVOD_NCCL_HOME": str(home), "HOROVOD_NCCL_LINK": "SHARED"}


def configure(
    archive: Path, plain: Path, environment: Mapping[str, str], log: Path
) -> Path:
    """Unpacks the sources and lets CMake find the frameworks, compilers and libraries.

    Args:
        archive: Horovod's source distribution.
        plain: An empty folder, whose name has no character that is special in regular expressions.
        environment: Horovod's variables.
        log: Where the output is appended.

    Returns:
        The folder in which CMake can build.

    Raises:
        subprocess.CalledProcessError: CMake did not find what it needs.
    """
    shutil.unpack_archive(archive, plain)
    source = plain / f"horovod-{build_horovod.RELEASE}"
    build_horovod._edit(source, for_gpus=build_horovod.GPU_OPERATIONS in environment)
    place = plain / "build"
    place.mkdir()
    _run(["cmake", str(source), f"-DCMAKE_BUILD_TYPE={BUILD_TYPE}",
          f"-DPYTHON_EXECUTABLE:FILEPATH={sys.executable}",
          f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY_{BUILD_TYPE.upper()}={place / 'built'}"],
         place, environment, log)
    return place


def build(
    place: Path, targets: list[str], environment: Mapping[str, str], log: Path
) -> None:
    """Compiles targets of what ``configure`` has left.

    Raises:
        subprocess.CalledProcessError: The compiler or the linker failed.
    """
    _run(["cmake", "--build", ".", "--target", *targets, "--", f"-j{os.cpu_count() or 1}"],
         place, environment, log)


def linked(place: Path) -> list[str]:
    """Names the engines' libraries in a build that need NCCL's and call its all-reduce."""
    found = {path: path.read_bytes() for path in sorted(place.rglob("mpi_lib*.so"))}
    return [path.name for path, content in found.items()
            if all(name in content for name in NEEDED_OF_NCCL)]


def _run(command: list[str], place: Path, environment: Mapping[str, str], log: Path) -> None:
    variables = os.environ | dict(environment) | {"PATH": tool_path()}
    with log.open("a") as stream:
        subprocess.run(command, check=True, cwd=place, env=variables, stdout=stream, stderr=stream)


if __name__ == "__main__":
    sys.exit(main())
