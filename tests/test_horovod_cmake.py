"""Horovod's sources through CMake: which engines, with what, and what is missing in words."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from scripts import build_horovod, horovod_cmake

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("tensorflow", "torch", "cuda", "engines"), [
    ("2.21.0", "2.13.0+cpu", False, ["tensorflow"]), ("", "2.13.0", True, ["pytorch"]),
    ("2.21.0", "2.13.0", True, ["tensorflow", "pytorch"]), ("", "2.13.0+cpu", False, []),
])
def test_engines_that_can_be_compiled_for_gpus(
    tensorflow: str, torch: str, cuda: bool, engines: list[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(horovod_cmake, "tensorflow_version", lambda: tensorflow)
    monkeypatch.setattr(horovod_cmake, "torch_version", lambda: torch)
    monkeypatch.setattr(horovod_cmake, "has_cuda", lambda: cuda)
    assert horovod_cmake.gpu_engines() == engines
    found = horovod_cmake.gpu_environment(engines, tmp_path)
    assert found["HOROVOD_GPU_OPERATIONS"] == "NCCL" and found["HOROVOD_NCCL_HOME"] == str(tmp_path)
    for engine in ("TENSORFLOW", "PYTORCH"):
        wanted = engine.lower() in engines
        assert (f"HOROVOD_WITH_{engine}" in found) == wanted
        assert (f"HOROVOD_WITHOUT_{engine}" in found) != wanted


def test_what_is_missing_is_said_with_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(horovod_cmake, "tool_path", lambda: "/nowhere")
    monkeypatch.setattr(horovod_cmake, "gpu_engines", list)
    assert horovod_cmake.main() == 3
    said = capsys.readouterr().err
    assert "nvcc is not found (the CUDA toolkit has it)" in said
    assert "neither TensorFlow nor a torch with CUDA" in said


@pytest.mark.parametrize("named", ["", "/opt/cuda"])
def test_the_toolkit_is_where_nvcc_says_and_not_where_it_was_found(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that calls another nvcc lies in a folder without headers."""
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text(f"#!/bin/sh\necho '#$ _NVVM_BRANCH_=nvvm' >&2\n"
                    f"echo '#$ TOP={tmp_path}/toolkit/bin/..' >&2\n")
    nvcc.chmod(0o755)
    monkeypatch.setattr(horovod_cmake, "tool_path", lambda: str(nvcc.parent))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setenv("HOROVOD_CUDA_HOME", named)
    (tmp_path / "toolkit" / "bin").mkdir(parents=True)
    found = horovod_cmake.gpu_environment(["tensorflow"], tmp_path)
    wanted = named or str(tmp_path / "toolkit")
    assert (found["HOROVOD_CUDA_HOME"], found["CUDA_HOME"]) == (wanted, wanted)


def test_an_nvcc_that_does_not_tell_is_left_to_cmake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(horovod_cmake, "tool_path", lambda: str(tmp_path))
    for name in ("CUDA_HOME", "HOROVOD_CUDA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert horovod_cmake.cuda_home() == {}
    (tmp_path / "nvcc").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "nvcc").chmod(0o755)
    assert horovod_cmake.cuda_home() == {}


def _archive(folder: Path) -> Path:
    """A source distribution with the files that are edited."""
    root = folder / f"horovod-{build_horovod.RELEASE}"
    shorter: dict[str, str] = {}
    for name, old, _new in build_horovod.SHORTER:
        shorter[name] = f"{shorter.get(name, '')}{old}\n"
    files = {
        **shorter,
        "CMakeLists.txt": f"set(CMAKE_CXX_STANDARD 14)\n{shorter['CMakeLists.txt']}",
        "horovod/torch/CMakeLists.txt": "set(CMAKE_CXX_STANDARD 14)\n",
        "horovod/tensorflow/CMakeLists.txt":
            f"a.cc\nxla_mpi_ops.cc\n{shorter['horovod/tensorflow/CMakeLists.txt']}",
        "cmake/Modules/FindPytorch.cmake":
            "(torch.version.cuda is not None) and (CUDA_HOME is not None)\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    archive = folder / "horovod.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(root, root.name)
    return archive


@pytest.mark.parametrize("for_gpus", [True, False])
def test_cmake_sees_the_edited_sources_and_the_variables(
    for_gpus: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    cmake = tmp_path / "bin" / "cmake"
    cmake.write_text('#!/bin/sh\necho "$@"\necho "operations $HOROVOD_GPU_OPERATIONS"\n'
                     'cat "$1/cmake/Modules/FindPytorch.cmake" "$1/CMakeLists.txt"\n')
    cmake.chmod(0o755)
    monkeypatch.setattr(horovod_cmake, "tool_path", lambda: f"{tmp_path / 'bin'}:/usr/bin:/bin")
    plain, log = tmp_path / "plain", tmp_path / "log"
    plain.mkdir()
    environment = {"HOROVOD_GPU_OPERATIONS": "NCCL"} if for_gpus else {}
    place = horovod_cmake.configure(_archive(tmp_path), plain, environment, log)
    assert place.is_dir()
    said = log.read_text()
    assert f"-DPYTHON_EXECUTABLE:FILEPATH={sys.executable}" in said
    assert ("operations NCCL" in said) == for_gpus
    # A build for CPUs must not find the CUDA of torch.
    assert ("torch.version.cuda" in said) == for_gpus and "CMAKE_CXX_STANDARD 17" in said
    # One gloo, and no debug information.
    assert 'REPLACE "-g" ""' in said and "Tensorflow_CXX17" not in said


@pytest.mark.parametrize(("release", "standard"), [
    ((2, 13), 17), ((2, 14), 20), ((3, 0), 20), ((0, 0), 17),  # the last is without torch
])
def test_the_torch_engine_is_compiled_in_the_language_of_torchs_headers(
    release: tuple[int, int], standard: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_horovod, "release", lambda: release)
    with tarfile.open(_archive(tmp_path)) as packed:
        packed.extractall(tmp_path / "plain", filter="data")
    source = tmp_path / "plain" / f"horovod-{build_horovod.RELEASE}"
    build_horovod._edit(source, for_gpus=True)
    engine = (source / "horovod/torch/CMakeLists.txt").read_text()
    assert f"CMAKE_CXX_STANDARD {standard}" in engine
    assert "CMAKE_CXX_STANDARD 17" in (source / "CMakeLists.txt").read_text()


def test_a_build_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(horovod_cmake, "tool_path", lambda: str(tmp_path))
    cmake = tmp_path / "cmake"
    cmake.write_text("#!/bin/sh\nexit 2\n")
    cmake.chmod(0o755)
    with pytest.raises(subprocess.CalledProcessError):
        horovod_cmake.build(tmp_path, ["tensorflow"], {}, tmp_path / "log")


@pytest.mark.parametrize(("content", "code"), [
    ("libnccl.so.2 ncclAllReduce", 0), ("gloo alone", 1), ("", 1),
])
def test_a_build_counts_where_its_library_needs_nccl(
    content: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a build that leaves a library of that content, or none."""
    def built(place: Path, *_rest: object) -> None:
        if content:
            (place / "built").mkdir()
            (place / "built" / "mpi_lib.cpython-311.so").write_text(content)

    monkeypatch.setattr(sys, "argv", ["horovod_cmake", str(tmp_path)])
    replaced = {"gpu_engines": lambda: ["tensorflow"], "lacking": lambda engines: [],
                "nccl_home": lambda *_: tmp_path, "configure": lambda _a, plain, *_: plain,
                "build": built}
    for name, function in replaced.items():
        monkeypatch.setattr(horovod_cmake, name, function)
    monkeypatch.setattr(build_horovod, "_download", lambda *_: tmp_path)
    assert horovod_cmake.main() == code
    said = capsys.readouterr().out
    assert ("compiled with NCCL: tensorflow (mpi_lib.cpython-311.so)" in said) == (code == 0)


def test_nccl_that_is_named_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOROVOD_NCCL_HOME", str(tmp_path))
    assert horovod_cmake.nccl_home(tmp_path / "unused", tmp_path / "log") == tmp_path


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_horovod_compiles_and_links_with_nccl_here() -> None:
    """What `make horovod-nccl` does, with this environment's frameworks; NCCL's wheel is kept."""
    done = subprocess.run([sys.executable, "-m", "scripts.horovod_cmake"], cwd=ROOT, text=True,
                          capture_output=True, check=False)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert "compiled with NCCL: " in done.stdout and "mpi_lib" in done.stdout
