"""What published programs do, from their sources: precision, sharding, overlap, attention."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from suite.foresight.fitting import Base
from suite.foresight.hardware import Device, find_device
from suite.foresight.machine import Software

Row = dict[str, str]


@dataclass(frozen=True)
class Program:
    """A training program on a device.

    Attributes:
        name: Program and version, as far as its constants are shared.
        base: Device, number format and software.
        fused_attention: 1 where attention is one kernel.
        sequence_parallel: Whether norms and dropout are split over shards.
        sharding: ZeRO stage where the row does not say.
        recompute: ``none``, ``selective`` or ``full`` where the row does not say.
        micro_batch: Samples of a micro-batch where the row does not say; 0 if unknown.
    """

    name: str
    base: Base
    fused_attention: float = 0.0
    sequence_parallel: bool = False
    sharding: float = 0.0
    recompute: str = "none"
    micro_batch: float = 0.0

    def stack(self, row: Row) -> str:
        """Name of what one calibration holds for."""
        return f"{self.name}, {self.base.device.name}, {self.base.dtype}"


# Megatron-LM of 2020 to 2022: 16-bit with float32 master copies, no overlap of its gradients'
# reduction, attention as separate kernels.
MEGATRON = Software(gradient_bytes=2.0, held_gradient_bytes=4.0, overlaps_gradients=0.0)
# PyTorch's cross entropy holds of a 16-bit logit: itself, its float32 copy, the logarithm of its
# probability, and the gradients of the last two, which are float32 as well. XLA fuses all that into
# the logit and its gradient. Where the logits are sharded, torch's loss_parallel holds beside the
# logit the logarithm, its exponential, zeros with a one in them, their sum and the product with the
# incoming gradient, of which four in float32 at a time. nanotron's own loss holds beside the logit
# its float32 copy and the exponential, which becomes the gradient in place. All these count, though
# not all of them are alive at the same time: both programs print what their allocator has reserved,
# and blocks of one size stay reserved while another size is asked for.
EAGER_LOGIT_BYTES, FUSED_LOGIT_BYTES = 14.0, 4.0
PARALLEL_LOGIT_BYTES, NANOTRON_LOGIT_BYTES = 18.0, 10.0
# Attention in one kernel, all scores counted. What a causal mask hides is left out block by block,
# which makes it 1.75 times as fast. FlashAttention-2 reaches 60 % of an A100's peak (Dao 2023) and
# 35 % of an H100's, where other products reach 80 % (Shah et al. 2024); cuDNN's, written for the
# H100, are taken to reach there what the former reaches on an A100.
CUDNN_RATE = 1.75 * 0.6 / 0.8
FLASH_RATES = {"A100": CUDNN_RATE, "H100": 1.75 * 0.35 / 0.8}
# Five products for two, as all these kernels count it (compute.py:unit_times).
RECOMPUTED_SCORES = 2.5
# FSDP of PyTorch: shards gathered in 16 bit beside compute, gradients reduced in float32; the
# float32 shard is the parameter itself.
FSDP = Software(gradient_bytes=4.0, held_gradient_bytes=4.0, overlaps_gradients=1.0,
                attention_backward=RECOMPUTED_SCORES,
                logit_bytes=EAGER_LOGIT_BYTES, sharded_weight_bytes=0.0)
# NeMo and Megatron-Core: distributed optimiser, gradients reduced in 16 bit beside the backward
# pass (``grad_sync_dtype`` and ``grad_reduce_in_fp32`` of its recipes), hops of interleaved
# pipelines beside passes but for fill and flush. Its shards' sums run beside products, nearly all
# of them in the recipes that overlap, but take processors from these: half of them are counted.
NEMO = Software(gradient_bytes=2.0, overlaps_gradients=1.0, overlaps_hidden_sums=0.5,
                steady_hops=1.0, attention_rate=CUDNN_RATE, attention_backward=RECOMPUTED_SCORES)
JAX = Software(gradient_bytes=2.0, overlaps_gradients=1.0, attention_rate=CUDNN_RATE,
               attention_backward=RECOMPUTED_SCORES)

DEVICES_PER_NODE = 8.0
# The start of a row's hardware -> row of hardware.csv.
DEVICES = {
    "A100-80GB": "A100 SXM 80GB", "A100-40GB": "A100 SXM 40GB", "A100": "A100 SXM 80GB",
    "V100": "V100 SXM2 32GB", "H100-80GB": "H100 SXM 80GB", "H100": "H100 SXM 80GB",
    "B200": "B200 SXM", "GB200": "B200 SXM",
}
# What large products reach on the H100 of 2.4 TB/s, of the 989 TFLOP/s that a datasheet gives for
# 700 W, and what pointwise kernels reach of its memory (0.92): measured by torchao, whose versions
# torchtitan's tables name (torchao/float8/roofline_utils.py at eab345c of December 2024, and
# torchao/testing/float8/roofline_utils.py since March 2025).
LIMITED_SHARES = {"2024": 0.6, "2025": 0.78}


def _eight_bit(text: str) -> bool:
    return "fp8" in text.lower() or "float8" in text.lower()


def program_of(row: Row) -> Program | None:
    """The program of a row; None where the row is no step of a transformer that we know."""
    source = row["source"]
    for start, make in PROGRAMS.items():
        if source.startswith(start):
            return make(row)
    return None


def _flash_rate(row: Row) -> float:
    """Before calibration; 1 on devices of which no figure is known."""
    return FLASH_RATES.get(row["hardware"][:4], 1.0)


def _eager(row: Row) -> float:
    return 1.0 if "no compile" in row["note"] else 0.0


def _device(row: Row) -> Device | None:
    name = DEVICES.get(re.split(r"[ (]", row["hardware"])[0])
    device = find_device(name) if name else None
    stated = re.search(r"inter (\d+) Gb/s a node", row["interconnect"])
    if device and stated:
        share = float(stated.group(1)) * 1e9 / 8.0 / DEVICES_PER_NODE
        device = replace(device, between_bytes_s=share)
    if device and "HBM2e" in row["hardware"]:
        # torchtitan's machines, as its benchmarks/llama3_h100_202412_torchtitan.md describes them:
        # 96 GB at 2.4 TB/s, limited to 500 W.
        year = next(one for one in LIMITED_SHARES if one in row["source"])
        return replace(device, name=f"H100 SXM 96GB HBM2e, {year}", memory_bytes=96e9,
                       memory_bytes_s=2.4e12, product_share=LIMITED_SHARES[year], stream_share=0.92)
    return device


def _base(row: Row, software: Software, dtype: str = "bf16") -> Base | None:
    name = re.split(r"[ (]", row["hardware"])[0]
    device = _device(row)
    # A rack of GB200 is one NVLink domain of 72 devices; other machines have eight a node.
    inside = 72.0 if name.startswith("GB") else DEVICES_PER_NODE
    return Base(device, dtype, inside, software) if device else None


def _megatron(name: str, micro_batch: float = 0.0) -> Callable[[Row], Program | None]:
    def make(row: Row) -> Program | None:
        base = _base(row, MEGATRON, "fp16")
        if base is None:
            return None
        whose = "DeepSpeed ZeRO-3" if row["zero"] == "3" else name
        return Program(whose, base, recompute="full", micro_batch=micro_batch)

    return make


def _mpt(row: Row) -> Program | None:
    software = replace(FSDP, attention_rate=_flash_rate(row))
    base = _base(row, software, "fp8" if _eight_bit(row["dtype"]) else "bf16")
    return Program("LLM-Foundry", base, 1.0, sharding=3.0) if base else None


def _torchtitan(row: Row) -> Program | None:
    eight = _eight_bit(row["dtype"])
    hidden = 0.7 if "async TP" in row["note"] and "vanilla" not in row["note"] else 0.0
    # Its selective recomputation keeps the output of every second product; without a compiler,
    # which leaves out what nothing needs, the seventh and last among them. Embedding and head are
    # the root of its FSDP; its logits are sharded over tensor-parallel devices.
    # Its selective recomputation by layers takes every second block.
    eager = _eager(row)
    sharded = float(row["tp"] or 1.0) > 1.0
    blocks = 0.5 if row["recompute"] == "selective layer" else 0.0
    software = replace(
        FSDP, attention_rate=_flash_rate(row), overlaps_hidden_sums=hidden,
        gather_copy_bytes=4.0, scatter_copy_bytes=6.0,
        alternate_products=1.0, selective_blocks=blocks, selective_outputs=0.5,
        selective_block_outputs=eager, gathers_ends=1.0,
        logit_bytes=PARALLEL_LOGIT_BYTES if sharded else EAGER_LOGIT_BYTES)
    base = _base(row, software, "fp8" if eight else "bf16")
    return Program("torchtitan", base, 1.0, True, 3.0) if base else None


def _nemo(row: Row) -> Program | None:
    table = row["table"].lower()
    name, software, sharding, recompute, fused = "NeMo", NEMO, 1.0, "none", 1.0
    if "maxtext" in table:
        name, software, recompute = "MaxText", JAX, "full"
    elif "paxml" in table:
        # Its recipe turns fused attention off (``--xla_gpu_enable_cudnn_fmha=false`` in
        # paxml/configure.sh of NVIDIA/dgxc-benchmarking at 35a9aec). Of GPT-3 175B the projections
        # around attention are kept (SAVE_QKV_OUT_PROJ), so attention and the first product of the
        # feed-forward part, a third of the others, are computed again; of 5B all products are kept.
        name, fused = "Paxml", 0.0
        software = replace(JAX, attention_rate=1.0, attention_backward=2.0,
                           selective_products=1 / 3)
        recompute = "selective" if "175b" in table else "none"
    eight = _eight_bit(row["dtype"] + " " + table)
    base = _base(row, software, "fp8" if eight else "bf16")
    bridge = row["source"].startswith("Megatron-Bridge")
    if bridge and not row["dtype"]:
        return None  # its rates exceed the peak of 16 bit; the format is not stated
    if base is None or row["dtype"] in ("MXFP8", "NVFP4") or row["hardware"].startswith("GB300"):
        return None
    nemo = name == "NeMo"
    # Another program than NeMo 2: megatron_gpt_pretraining.py of 2024, which the recipe of GPT-3
    # starts (nemo_megatron/configure.sh of NVIDIA/dgxc-benchmarking at 741c886 and 35a9aec), while
    # the others start NeMo 2 of 2025.
    if nemo and ("nemo megatron" in table or row["source"].startswith("NeMo performance")):
        name = "NeMo 1"
    rack = ", rack" if base.devices_per_node > 8 else ""
    return Program(name + rack, base, fused, nemo, sharding, recompute)


def _nanotron(row: Row) -> Program | None:
    # Of its version of the table: 16-bit gradients of a micro-batch are added to those in float32
    # after its backward pass, DDP (with buckets of its own) reduces them unless states are sharded,
    # and stages are cut by cost. With asynchronous communication (its scaling_benchmarks.py) the
    # gradients' two scatters of a block run beside products, of its eight gathers and scatters; the
    # others wait for all but the device's own share (parallel/tensor_parallel/functional.py).
    software = replace(
        MEGATRON, gradient_bytes=4.0, attention_rate=_flash_rate(row),
        attention_backward=RECOMPUTED_SCORES, overlaps_hidden_sums=2 / 8,
        logit_bytes=NANOTRON_LOGIT_BYTES, passing_gradient_bytes=2.0, bucket_bytes=2.0,
        cuts_by_parameters=True)
    base = _base(row, software, "bf16")
    return Program("nanotron", base, 1.0, True) if base else None


def _alpa(row: Row) -> Program | None:
    if row["model"] != "GPT" or row["zero"] == "auto":
        return None
    software = replace(MEGATRON, held_gradient_bytes=2.0, logit_bytes=FUSED_LOGIT_BYTES,
                       gradients_pass=1.0)
    base = _base(row, software, "fp16")
    share = float(row["global_batch"]) / float(row["gpus"])
    return Program("Alpa", base, micro_batch=share) if base else None


PROGRAMS: dict[str, Callable[[Row], Program | None]] = {
    "vTrain single": _megatron("Megatron-LM (vTrain)"),
    "vTrain multi": _megatron("Megatron-LM (vTrain, multi-node)"),
    "Megatron SC21": _megatron("Megatron-LM 2021"),
    "Megatron-LM SC21": _megatron("Megatron-LM 2021"),
    "Megatron-LM README A100": _megatron("Megatron-LM 2021", 1.0),
    "MT-NLG": _megatron("Megatron-LM 2021", 1.0),
    "Calculon": _megatron("Megatron-LM 2022"),
    "LLM-Foundry": _mpt, "torchtitan": _torchtitan, "nanotron": _nanotron,
    "DGXC": _nemo, "NeMo": _nemo, "Megatron-Bridge": _nemo, "Alpa": _alpa,
}

# Dimensions that tables leave out, from the models' public configurations (torchtitan's and
# NeMo's model files; Touvron et al. 2023, Dubey et al. 2024, Parmar et al. 2024). Of Llama-like
# models the pattern is matched against the name in lower case without signs.
LLAMA = {"gated": 1.0, "tied": 0.0, "dropout": 0.0}
# Alpa's benchmark trains without dropout, and JAX's softmax of 2021 keeps the exponentials for its
# derivative beside the result.
ALPA = {"dropout": 0.0, "kept_scores": 2.0}
SHAPES: dict[str, dict[str, float]] = {
    "gpt3175b|gpt3-175b": {"layers": 96, "hidden": 12288, "heads": 96},
    "gpt320b": {"layers": 44, "hidden": 6144, "heads": 48},
    "gpt35b": {"layers": 24, "hidden": 4096, "heads": 32},
    "nemotron8b": {"layers": 32, "hidden": 4096, "heads": 32, "vocabulary": 256000, "tied": 0},
    "nemotron22b": {"layers": 40, "hidden": 6144, "heads": 48, "vocabulary": 256000, "tied": 0},
    "nemotron4?340b": {"layers": 96, "hidden": 18432, "heads": 96, "vocabulary": 256000,
                       "key_value_heads": 8, "tied": 0},
    "nemotron4?15b": {"key_value_heads": 8, "vocabulary": 256000, "tied": 0},
    "llama27b": LLAMA | {"feed_forward": 11008, "vocabulary": 32000},
    "llama213b": LLAMA | {"feed_forward": 13824, "vocabulary": 32000},
    "llama270b": LLAMA | {"feed_forward": 28672, "vocabulary": 32000, "key_value_heads": 8},
    "llama3(.1)?8b": LLAMA | {"feed_forward": 14336, "vocabulary": 128256, "key_value_heads": 8},
    "llama3(.1)?70b": LLAMA | {"feed_forward": 28672, "vocabulary": 128256, "key_value_heads": 8},
    "llama3(.1)?405b": LLAMA | {"feed_forward": 53248, "vocabulary": 128256,
                                "key_value_heads": 8},
}
# nanotron's scaling models, by width: feed-forward width, heads of keys and values, tied table;
# they follow from the published numbers of parameters.
NANOTRON = {2048: (8192, 32, 1), 3072: (8192, 32, 1), 4096: (16384, 8, 0), 8192: (28672, 64, 0)}


def known_shape(row: Row) -> dict[str, float]:
    """Dimensions that the row does not state and its model's configuration does."""
    if row["model"] == "Llama-like":
        wide, shared, tied = NANOTRON.get(int(row["hidden"]), (4 * int(row["hidden"]), 32, 0))
        return LLAMA | {"feed_forward": wide, "key_value_heads": shared, "tied": tied}
    if row["source"].startswith("Alpa"):
        return ALPA
    name = re.sub(r"\(.*?\)|[^a-z0-9.]", "", row["model"].lower())
    found: dict[str, float] = {}
    for pattern, shape in SHAPES.items():
        if re.fullmatch(pattern, name):
            found = dict(shape)
    if row["source"].startswith("torchtitan"):
        # torchao's Float8 scales each tensor by its own maximum.
        found |= {"eager": _eager(row), "cast": float(_eight_bit(row["dtype"]))}
    return found
