"""What a user may ask for, as numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.config.matrix import build_matrix, choose_device
from suite.config.resolution import REPEATS_OF_A_RULE, resolve
from suite.config.values import parse_duration, parse_share
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.measure.availability import unsupported_reason


def test_shares_and_durations() -> None:
    assert [parse_share(text) for text in ("3%", "2.5 %", "0.03")] == [0.03, 0.025, 0.03]
    assert [parse_duration(text) for text in ("90s", "20m", "1.5h", "45")] == [90, 1200, 5400, 45]
    for wrong in ("3%%", "-1%", "m", "1d", ""):
        with pytest.raises(ValueError):
            parse_share(wrong)
        with pytest.raises(ValueError):
            parse_duration(wrong)


def test_presets_end_in_bounded_time() -> None:
    standard, quick = (resolve(name, None, {}) for name in ("standard", "quick"))
    assert (standard.precision, standard.budget) == (0.03, 1200)
    assert standard.repeats == REPEATS_OF_A_RULE and standard.probes == 2
    assert (quick.precision, quick.budget, quick.repeats, quick.probes) == (None, None, 3, 1)


def test_a_rule_may_take_as_many_launches_as_it_needs() -> None:
    assert resolve("quick", None, {"precision": "2%"}).repeats == REPEATS_OF_A_RULE
    assert resolve("quick", None, {"precision": "2%", "repeats": 4}).repeats == 4


def test_a_file_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "suite.toml"
    file.write_text('precision = "2%"\nbudget = 90\nwarmup = 30\nrepeats = 7\nprobe_steps = 9')
    config = resolve("quick", file, {})
    assert (config.precision, config.budget, config.repeats) == (0.02, 90, 7)
    assert {(case.warmup_limit, case.probe_steps) for case in build_matrix(config, 0)} == {(30, 9)}


def test_quick_presets_time_what_they_say_until_probes_are_asked_for() -> None:
    """They promise a time; whoever asks for probes wants to know T_comm."""
    for name in ("quick", "smoke", "meshes"):
        assert resolve(name, None, {}).probe_precision == 0
        assert resolve(name, None, {"probes": 5}).probe_precision == 0.1
        assert resolve(name, None, {"probes": 5, "probe_precision": "0"}).probe_precision == 0
    config = resolve("standard", None, {"probe_precision": "4%"})
    assert {case.probe_precision for case in build_matrix(config, 0)} == {0.04}
    assert resolve("standard", None, {}).probe_precision == 0.1


def test_accumulation_is_a_case_of_its_own() -> None:
    alone = build_matrix(resolve("quick", None, {}), 0)
    both = build_matrix(resolve("quick", None, {"accumulate": ["1", "4"]}), 0)
    assert [case.accumulate for case in both].count(4) == len(alone)
    assert len({case.case_id for case in both}) == len(both) == 2 * len(alone)


def test_compressed_gradients_are_proven_without_compression() -> None:
    def case(variant: str, framework: str = "pytorch", engine: str = "torch") -> Case:
        return Case(framework, engine, "data", variant, "mlp", "tiny", "real", "cpu", 2)

    assert case("fp16").strict == case("bf16").strict == case("").strict == case("")
    assert case("fsdp").strict == case("fsdp")
    reasons = [unsupported_reason(case("bf16", *column), {column[0]: "elsewhere"}) for column in (
        ("pytorch", "torch"), ("horovod", "torch"), ("tensorflow", "tensorflow"),
    )]
    assert not reasons[0] and "float16 only" in reasons[1] and "compress none" in reasons[2]


def test_formats_and_modes_are_axes_with_ids_of_their_own() -> None:
    asked = {"framework": ["pytorch"], "strategy": ["single"], "dtype": ["float32", "bf16"],
             "mode": ["eager", "compiled"]}
    ids = [case.case_id for case in build_matrix(resolve("smoke", None, asked), 0)]
    plain = "pytorch.single.mlp-tiny.cpu1"
    assert ids == [plain, f"{plain}.compiled", f"{plain}.bf16", f"{plain}.bf16.compiled"]
    # As a run of an earlier version has it.
    assert resolve("smoke", None, {"dtype": "bf16"}).dtype == ["bf16"]
    with pytest.raises(UsageError, match="fp16"):
        resolve("smoke", None, {"dtype": ["fp16"]})


def test_no_format_is_quietly_another() -> None:
    def reason(framework: str, engine: str, dtype: str, device: str = "cpu",
               strategy: str = "single") -> str:
        count = 1 if strategy == "single" else 2
        case = Case(framework, engine, strategy, "", "mlp", "tiny", "real", device, count, dtype)
        return unsupported_reason(case, {framework: "elsewhere"})

    assert "tensor cores" in reason("pytorch", "torch", "tf32")
    assert reason("pytorch", "torch", "tf32", "cuda") == reason("pytorch", "torch", "bf16") == ""
    assert reason("tensorflow", "tensorflow", "bf16") == ""
    assert reason("tensorflow", "tensorflow", "tf32", "cuda") == ""
    assert reason("horovod", "tensorflow", "bf16") == ""
    assert "carries no bfloat16" in reason("horovod", "tensorflow", "bf16", "cpu", "intra_layer")
    assert reason("tensorflow", "tensorflow", "float64") == ""


def test_gpus_are_shared_only_where_that_is_asked_for() -> None:
    with pytest.raises(UsageError, match="--oversubscribe"):
        choose_device("cuda", 2, 1)
    assert choose_device("cuda", 2, 1, oversubscribe=True) == "cuda"
    with pytest.raises(UsageError, match="a machine with a GPU"):
        choose_device("cuda", 2, 0, oversubscribe=True)
    assert choose_device("auto", 2, 1) == "cpu"
    asked = {"framework": ["pytorch"], "device": "cuda", "oversubscribe": True}
    cases = build_matrix(resolve("smoke", None, asked), 1)
    assert {case.devices for case in cases if case.oversubscribe} == {2}
    assert not any(case.oversubscribe for case in cases if case.devices == 1)
    reasons = {case.strategy: unsupported_reason(case, {"pytorch": ""}) for case in cases}
    assert reasons["data"] == "" and "gloo" in reasons["intra_layer"]
