"""The peak rates that vendors state for their GPUs."""

from __future__ import annotations

from dataclasses import dataclass

FORMATS = ("float64", "float32", "tf32", "bf16")


@dataclass(frozen=True)
class Model:
    """What NVIDIA prints of a GPU.

    Attributes:
        flops: Dense FLOP/s: float64 and float32 without tensor cores (TF32 is off there), TF32 and
            bfloat16 with them. Of GPUs for graphics float64 is a 32nd (Turing) or a 64th (Ampere,
            Ada) of float32, as the white papers of their architectures have it.
        multiprocessors: Their number on the whole GPU; 0 if it cannot be cut into MIG slices.
    """

    flops: tuple[float, ...]
    multiprocessors: int = 0


# Part of the name that the driver shows -> the datasheet. The more exact name comes first.
MODELS: dict[str, Model] = {
    "B200": Model((37e12, 75e12, 1125e12, 2250e12), 148),
    "GH200": Model((34e12, 67e12, 494.7e12, 989.4e12), 132),
    "H100 NVL": Model((30e12, 60e12, 417.5e12, 835.5e12), 132),
    "H100 PCIe": Model((26e12, 51e12, 378e12, 756e12), 114),
    "H100": Model((34e12, 67e12, 494.7e12, 989.4e12), 132),
    "H200 NVL": Model((30e12, 60e12, 417.5e12, 835.5e12), 132),
    "H200": Model((34e12, 67e12, 494.7e12, 989.4e12), 132),
    "A100": Model((9.7e12, 19.5e12, 156e12, 312e12), 108),
    "V100-SXM2": Model((7.8e12, 15.7e12)), "V100-PCIE": Model((7e12, 14e12)),
    "T4": Model((0.25e12, 8.1e12)),
    "L40S": Model((1.43e12, 91.6e12, 183e12, 362e12)),
    "L4": Model((0.47e12, 30.3e12, 60e12, 121e12)),
    "A10": Model((0.49e12, 31.2e12, 62.5e12, 125e12)),
    "RTX 4090": Model((1.29e12, 82.6e12, 82.6e12, 165.2e12)),
}
# Words in the names of GPUs that have the same number but other clocks and units.
OTHERS = {"Laptop", "Max", "D"}
SLICE = "MIG"


def datasheet_flops(name: str, multiprocessors: int | None = None) -> dict[str, float]:
    """Returns the peaks of a GPU, or of a slice of it.

    Args:
        name: Its name as the driver shows it.
        multiprocessors: Their number in a MIG slice, whose peaks are that share of the GPU's; None
            if the driver does not tell.

    Returns:
        Number format to FLOP/s; without formats that it lacks, empty for a GPU that is not known.
    """
    words = f"{name} ".replace("-", " ").split(" ")
    if not OTHERS.isdisjoint(words):
        return {}
    for model, printed in MODELS.items():
        if all(word in words for word in model.replace("-", " ").split(" ")):
            return _shared(printed, multiprocessors if SLICE in words else printed.multiprocessors)
    return {}


def _shared(printed: Model, multiprocessors: int | None) -> dict[str, float]:
    """Returns the peaks of some of a GPU's multiprocessors, or of all if it is never divided."""
    if not printed.multiprocessors:
        return dict(zip(FORMATS, printed.flops, strict=False))
    share = (multiprocessors or 0) / printed.multiprocessors
    return {kind: share * peak for kind, peak in zip(FORMATS, printed.flops, strict=False) if share}
