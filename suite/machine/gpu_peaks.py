"""The peak rates that vendors state for their GPUs."""

from __future__ import annotations

# Dense FLOP/s from NVIDIA's datasheets, by a part of the name that the driver shows: float32
# without tensor cores (where TF32 is off), TF32, bfloat16. Longer names come before shorter ones.
FLOPS: dict[str, tuple[float, ...]] = {
    "H100 NVL": (60e12, 417.5e12, 835.5e12), "H100 PCIe": (51e12, 378e12, 756e12),
    "H100": (67e12, 494.7e12, 989.4e12), "H200 NVL": (60e12, 417.5e12, 835.5e12),
    "H200": (67e12, 494.7e12, 989.4e12),
    "A100": (19.5e12, 156e12, 312e12),
    "V100-SXM2": (15.7e12,), "V100-PCIE": (14e12,), "T4": (8.1e12,),
    "L40S": (91.6e12, 183e12, 362e12), "L4": (30.3e12, 60e12, 121e12),
    "A10": (31.2e12, 62.5e12, 125e12), "RTX 4090": (82.6e12, 82.6e12, 165.2e12),
}


# Words in the names of GPUs that share a number with one above but have other clocks and units; a
# MIG slice has only a share of its GPU's units.
OTHERS = {"Laptop", "Max", "D", "MIG"}


FORMATS = ("float32", "tf32", "bf16")


def datasheet_flops(name: str) -> dict[str, float]:
    """Returns the peak rates of a GPU.

    Args:
        name: The name that the driver gives.

    Returns:
        FLOP/s by number format; without the formats that the GPU lacks or whose peak is unknown.
    """
    words = f"{name} ".replace("-", " ").split(" ")
    if not OTHERS.isdisjoint(words):
        return {}
    for model, peaks in FLOPS.items():
        wanted = model.replace("-", " ").split(" ")
        if all(word in words for word in wanted):
            return dict(zip(FORMATS, peaks, strict=False))
    return {}
