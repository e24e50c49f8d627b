"""NVML's Python binding, answering from a file: NVML_REPLAY names one of ../drivers.

A GPU's answers are by the name of the function; a list is answered in turn, the last one for ever;
what a file does not hold is not supported. PLANT_NVML is how the driver itself behaves.
"""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

NVML_CLOCK_SM, NVML_PERF_POLICY_POWER, NVML_PERF_POLICY_THERMAL = 1, 0, 1
NVML_PERF_POLICY_BOARD_LIMIT, NVML_TEMPERATURE_GPU = 3, 0
PLANT = os.environ.get("PLANT_NVML")
print("a line on standard output")


class NVMLError(Exception):
    pass


if PLANT == "hang":
    time.sleep(600)


def nvmlInit():
    if PLANT == "absent":
        raise NVMLError("no driver")
    if PLANT == "crash":
        os.abort()


FILE = json.loads(Path(os.environ["NVML_REPLAY"]).read_text())


def nvmlSystemGetDriverVersion():
    return FILE["driver"].encode()


def nvmlSystemGetCudaDriverVersion():
    return FILE["cuda"]


def nvmlDeviceGetCount():
    return len(FILE["gpus"])


def nvmlDeviceGetHandleByIndex(index):
    return FILE["gpus"][index]


def nvmlDeviceGetMigDeviceHandleByIndex(handle, number):
    slices = handle.get("slices", [])
    if number >= len(slices):
        raise NVMLError("no such slice")
    return slices[number]


def nvmlDeviceGetMaxMigDeviceCount(handle):
    return 7


def nvmlDeviceGetViolationStatus(handle, policy):
    counted = handle.get("nvmlDeviceGetViolationStatus", {})
    if str(policy) not in counted:
        raise NVMLError("not supported")
    return SimpleNamespace(violationTime=counted[str(policy)])


def __getattr__(name):
    if not name.startswith("nvml"):
        raise AttributeError(name)

    def answer(handle, *_arguments):
        if name not in handle:
            raise NVMLError("not supported")
        found = handle[name]
        if isinstance(found, list) and name != "nvmlDeviceGetMigMode":
            found = found.pop(0) if len(found) > 1 else found[0]
        return SimpleNamespace(**found) if isinstance(found, dict) else found

    return answer
