"""What an installed engine can do is read from its files, and a rank is given what it needs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters import horovod, pytorch, tensorflow
from adapters.pytorch import build as torch_build
from scripts import build_horovod
from scripts.build_horovod import FLAGS, code_of, flags, key, user_cache
from suite.config.resolution import resolve
from suite.contract import packages
from suite.contract.case import Case, Rank
from suite.contract.hosts import Host
from suite.machine.software import interpreters

CASE = Case("horovod", "torch", "data", "", "mlp", "tiny", "real", "cuda", 2)
# As the wheels' own builds write them.
TORCH = "from typing import Optional\n__version__ = '{version}'\ncuda: Optional[str] = {cuda!r}\n"
TENSORFLOW = "build_info = dict(is_cuda_build={cuda})\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of packages that holds what is planted there, and nothing else."""
    monkeypatch.setattr(
        packages, "folder_of", lambda name: tmp_path / name if (tmp_path / name).exists() else None
    )
    return tmp_path


def _plant(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _plant_horovod(site: Path, library: bytes, **built: str) -> None:
    _plant(site / "horovod" / "metadata.json", json.dumps(built))
    for engine, name in horovod.LIBRARIES.items():
        _plant(site / "horovod" / engine / f"{name}.cpython-311.so", library.decode())


def test_torch_from_pypi_is_what_horovod_was_built_against(site: Path) -> None:
    """Its distribution is 2.13.0, without the build that torch names, and Horovod writes down."""
    _plant(site / "torch" / "version.py", TORCH.format(version="2.13.0+cu130", cuda="13.0"))
    _plant_horovod(site, b"cudaEventRecord", pytorch="2.13.0+cu130")
    assert horovod.installation_problem(CASE) == ""
    _plant_horovod(site, b"cudaEventRecord", pytorch="2.12.0+cu130")
    assert "2.12.0+cu130, and 2.13.0+cu130 is installed" in horovod.installation_problem(CASE)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_gpu_without_a_build_for_it(site: Path, device: str) -> None:
    torch = replace(CASE, framework="pytorch", device=device)
    flow = replace(torch, framework="tensorflow", engine="tensorflow")
    for cuda in (None, "13.0"):
        _plant(site / "torch" / "version.py", TORCH.format(version="2.13.0", cuda=cuda))
        _plant(site / "tensorflow" / "python" / "platform" / "build_info.py",
               TENSORFLOW.format(cuda=bool(cuda)))
        found = pytorch.installation_problem(torch), tensorflow.installation_problem(flow)
        without = device == "cuda" and not cuda
        assert [("without CUDA" in problem) for problem in found] == [without] * 2


def test_horovod_needs_cuda_of_its_own(site: Path) -> None:
    _plant(site / "torch" / "version.py", TORCH.format(version="2.13.0+cu130", cuda="13.0"))
    _plant_horovod(site, b"ncclnothing", pytorch="2.13.0+cu130")
    assert "this Horovod was built without CUDA" in horovod.installation_problem(CASE)
    assert horovod.installation_problem(replace(CASE, device="cpu")) == ""


def test_the_horovod_here_has_no_cuda() -> None:
    """The name that is looked for is not in a library that was built without."""
    if packages.folder_of("horovod") is None:
        pytest.skip("horovod is not installed")
    found = [library for library in map(horovod._library, horovod.TRAITS.engines) if library]
    assert found and all(b"GlooAllreduce" in library.read_bytes() for library in found)
    if torch_build.gpu_problem("cuda"):
        assert horovod._without_gpu(CASE) != ""


@pytest.mark.parametrize(("asked", "cuda", "header", "nccl"), [
    (None, "13.0", True, "NCCL"), ("", "13.0", True, None), ("MPI", "13.0", True, "MPI"),
    (None, None, True, None), (None, "13.0", False, None),
])
def test_horovod_is_built_with_nccl_where_torch_has_cuda(
    site: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None, cuda: str | None,
    header: bool, nccl: str | None,
) -> None:
    """Then for torch alone; everywhere else for both engines."""
    _plant(site / "torch" / "version.py", TORCH.format(version="2.13.0", cuda=cuda))
    _plant(site / "nvcc", "")
    (site / "nvcc").chmod(0o755)
    monkeypatch.setattr("scripts.build_horovod.nccl_headers", lambda: [site])
    if header:
        _plant(site / "nccl.h", "")
    monkeypatch.setenv("PATH", str(site))
    monkeypatch.delenv("HOROVOD_GPU_OPERATIONS", raising=False)
    if asked is not None:
        monkeypatch.setenv("HOROVOD_GPU_OPERATIONS", asked)
    found = flags()
    assert found.get("HOROVOD_GPU_OPERATIONS") == nccl
    assert ("HOROVOD_WITH_TENSORFLOW" in found) == (nccl is None)


@pytest.mark.parametrize(("visible", "own"), [(None, ["0", "1"]), ("3, 5,7", ["3", "5"])])
def test_a_rank_on_tensorflow_sees_its_own_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, own: list[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    workers = replace(CASE, framework="tensorflow", engine="tensorflow", variant="multi_worker")
    for adapter, case in ((horovod, replace(CASE, engine="tensorflow")), (tensorflow, workers)):
        plan = adapter.launch_plan(case, tmp_path, "python")  # type: ignore[attr-defined]
        assert [one["CUDA_VISIBLE_DEVICES"] for one in plan.environment] == own
    both = tensorflow.launch_plan(replace(workers, variant=""), tmp_path, "python")
    assert both.environment[0]["CUDA_VISIBLE_DEVICES"] == ",".join(own)
    torch = horovod.launch_plan(CASE, tmp_path, "python")
    assert all("CUDA_VISIBLE_DEVICES" not in one for one in torch.environment)


@pytest.mark.parametrize("adapter", [horovod, pytorch])
def test_a_rank_takes_the_gpu_of_its_place_on_its_host(
    adapter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eight GPUs a host the first ones, also where a rank's number in the job is higher."""
    torch = pytest.importorskip("torch")
    from adapters.pytorch.training.single import open_device

    case = replace(CASE, framework=adapter.__name__.rpartition(".")[2], devices=5, hosts=2)
    hosts = [Host("a", 2, "10.0.0.1", "eth0", (29500,)), Host("b", 3, "10.0.0.2", "eth0")]
    monkeypatch.setattr(horovod, "interface_of_host", lambda: "eth0")
    plan = adapter.launch_plan_on(case, tmp_path, "python", hosts)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr("adapters.pytorch.training.single.set_products", lambda dtype: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    taken = []
    for index, variables in enumerate(plan.environment):
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        taken.append(open_device(case, Rank(index, 5, tmp_path)).index)
    assert taken == [0, 1, 0, 1, 2]


def test_an_environment_beside_this_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path / ".venv"))
    assert interpreters(["pytorch", "tensorflow"]) == {}
    own = tmp_path / ".venv-tensorflow" / "bin" / "python"
    _plant(own, "")
    assert resolve("quick", None, {}).python == {"tensorflow": str(own)}
    named = {"tensorflow": "/usr/bin/python3", "horovod": "/opt/python"}
    assert resolve("quick", None, {"python": named}).python == named


@pytest.mark.parametrize(
    ("version", "words"),
    [("2.10.1+cu128", "from torch 2.11 on, but 2.10.1+cu128"), ("2.11.0+cu130", ""),
     ("2.13.0", ""), ("3.0.0", "")],
)
def test_ranks_share_a_gpu_only_where_torch_keeps_gloo(
    site: Path, version: str, words: str
) -> None:
    _plant(site / "torch" / "version.py", TORCH.format(version=version, cuda="13.0"))
    case = replace(CASE, framework="pytorch", oversubscribe=True)
    problem = pytorch.installation_problem(case)
    assert words in problem if words else problem == ""
    assert pytorch.installation_problem(replace(case, oversubscribe=False)) == ""


def test_a_wheel_is_found_again_only_where_the_same_would_be_built(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _plant(site / "torch" / "version.py", TORCH.format(version="2.13.0", cuda=None))
    first = key()
    assert first == key() and "torch2.13.0" in first
    monkeypatch.setattr(build_horovod, "FLAGS", FLAGS | {"HOROVOD_WITH_MPI": "1"})
    assert key() != first
    monkeypatch.setattr(build_horovod, "FLAGS", FLAGS)
    monkeypatch.setattr(build_horovod, "_vector_units", lambda: ["avx512"])
    assert key() != first
    _plant(site / "torch" / "version.py", TORCH.format(version="2.14.0", cuda=None))
    assert "torch2.14.0" in key()


def test_words_about_the_build_cost_no_new_build() -> None:
    script = Path(build_horovod.__file__).read_text(encoding="utf-8")
    reworded = "# A remark.\n" + script.replace('"""Returns', '"""Gives')
    assert reworded != script and code_of(reworded) == code_of(script)
    assert code_of(script.replace(build_horovod.RELEASE, "0.29")) != code_of(script)


@pytest.mark.parametrize("place", ["", "/somewhere"])
def test_wheels_are_kept_where_programs_keep_such_things(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    assert user_cache() == (Path(place) if place else Path.home() / ".cache")


@pytest.mark.parametrize("missing", ["torch", "tensorflow"])
def test_horovod_is_built_for_what_is_installed(
    site: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    flag = {"torch": "HOROVOD_WITH_PYTORCH", "tensorflow": "HOROVOD_WITH_TENSORFLOW"}
    versions = dict.fromkeys(flag.values(), lambda: "2.0")
    monkeypatch.setattr(build_horovod, "ENGINES", versions | {flag[missing]: lambda: ""})
    found = flags()
    assert flag[missing] not in found and len(found) == len(FLAGS)
    assert found[flag[missing].replace("_WITH_", "_WITHOUT_")] == "1"
    monkeypatch.setattr(build_horovod, "ENGINES", versions)
    assert flags() == FLAGS


def test_horovod_needs_an_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["build_horovod", str(tmp_path)])
    monkeypatch.setattr(
        build_horovod, "ENGINES", dict.fromkeys(build_horovod.ENGINES, lambda: ""))
    assert build_horovod.main() == 1
    assert "neither torch nor TensorFlow is installed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("framework", ["pytorch", "horovod"])
def test_ranks_compile_beside_each_other(tmp_path: Path, framework: str, device: str) -> None:
    """On its one core a rank compiles alone; beside a GPU PyTorch takes the rank's cores."""
    adapter = {"pytorch": pytorch, "horovod": horovod}[framework]
    case = replace(CASE, framework=framework, device=device, mode="compiled")
    plan = adapter.launch_plan(case, tmp_path, "python")
    assert plan.scratch == tmp_path / "compiled"
    folders = {one["TORCHINDUCTOR_CACHE_DIR"] for one in plan.environment}
    assert len(folders) == 2 and all(str(plan.scratch) in folder for folder in folders)
    threads = [one.get("TORCHINDUCTOR_COMPILE_THREADS") for one in plan.environment]
    assert threads == (["1", "1"] if device == "cpu" else [None, None])
