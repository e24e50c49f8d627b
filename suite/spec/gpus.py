"""Peaks that vendors print, as information beside what is measured."""

from __future__ import annotations

# Part of the name that nvidia-smi shows -> float32 FLOP/s without tensor cores (TF32 is off here),
# from NVIDIA's datasheets. The more exact name comes first.
FLOAT32_FLOPS: dict[str, float] = {
    "H100 PCIe": 51e12, "H100": 67e12, "H200": 67e12, "A100": 19.5e12, "V100-SXM2": 15.7e12,
    "V100-PCIE": 14e12, "T4": 8.1e12, "L40S": 91.6e12, "L4": 30.3e12, "A10": 31.2e12,
    "RTX 4090": 82.6e12,
}


def datasheet_flops(name: str) -> float | None:
    """Peak of the GPU of that name, or None where the table does not know it."""
    words = f"{name} ".replace("-", " ").split(" ")
    for model, peak in FLOAT32_FLOPS.items():
        wanted = model.replace("-", " ").split(" ")
        if all(word in words for word in wanted):
            return peak
    return None
