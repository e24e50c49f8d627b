"""Says why a case cannot run here: nothing is installed, a build does not fit, or by design."""

from __future__ import annotations

from collections.abc import Mapping

from suite.contract import rdma
from suite.contract.case import RDMA, Case
from suite.contract.hosts import SpansHosts
from suite.contract.manifests import manifest
from suite.contract.registry import load, traits_of
from suite.contract.splits.balancing import unbalanceable
from suite.contract.splits.division import division_problem
from suite.contract.splits.recompute import unrecomputable
from suite.contract.splits.shares import unplannable
from suite.contract.splits.strategies import MULTI_WORKER, VARIANTS
from suite.machine import software


def unsupported_reason(case: Case, python: Mapping[str, str]) -> str:
    """Returns why a case cannot run here; empty if it can.

    A framework that runs in another interpreter is not checked, because it is not installed here.

    Args:
        case: The case.
        python: The interpreters of frameworks that have an environment of their own.
    """
    return division_problem(case) or adapter_problem(case, python)


def adapter_problem(case: Case, python: Mapping[str, str]) -> str:
    """Returns the same, but ignores whether the workload can be split into equal shares."""
    if problem := load(case.framework).problem:
        return problem
    adapter, traits = manifest(case.framework), traits_of(case.framework)
    if not getattr(case.spec, f"{case.engine}_module", "unknown"):
        return f"{case.workload} is not written for {case.engine}"
    if case.framework not in python:
        if not software.installed_version(traits.distributions):
            return f"{case.framework} is not installed: make run installs it, or give --python"
        problem = adapter.installation_problem(case)
        if problem:
            return problem
    if case.hosts > 1 and not isinstance(adapter, SpansHosts):
        return f"the adapter {case.framework} does not start processes on several hosts"
    refused = unplannable(case.spec, case.strategy) if case.device_speeds else ""
    refused = refused or (unrecomputable(case.spec) if case.recomputes else "")
    if case.balances:
        refused = refused or _unbalanceable(case)
    if case.cut and not traits.cuts:
        refused = refused or f"{case.framework} balances the FLOPs of stages and takes no other cut"
    return (refused or _no_such_format(case) or _no_such_network(case)
            or adapter.unsupported_reason(case)
            or _no_such_variant(case))


def _unbalanceable(case: Case) -> str:
    if case.strategy == "inter_layer" and len(case.spec.units()) <= case.devices:
        return f"{case.devices} stages of a unit each have no layer that could move"
    return unbalanceable(case.spec, case.strategy, case.variant, case.device, case.mode)


def _no_such_variant(case: Case) -> str:
    """Refuses a variant that the adapter does not know, which might otherwise train another one."""
    for axis in case.axes.names:
        own, chosen = VARIANTS[axis], case.variant if case.variant in VARIANTS[axis] else ""
        offered = traits_of(case.framework).variants.get(axis, own[:1])
        if chosen in own and chosen not in offered:
            names = ", ".join(name or "the plain one" for name in offered)
            return f"{case.framework} offers of {axis}: {names}"
    return ""


def _no_such_network(case: Case) -> str:
    """Refuses a network that the case would not use, or not by itself."""
    if not case.transport:
        return ""
    if case.placed and case.variant != MULTI_WORKER:
        return f"one process drives all devices: {case.transport} would carry nothing"
    offered = traits_of(case.framework).networks.get(case.device, ())
    if case.transport not in offered:
        return (f"{case.framework} connects {case.device} devices by "
                f"{' or '.join(offered) or 'what it chooses itself'}, not by {case.transport}")
    if case.device == "cuda" and case.hosts == 1:
        return "GPUs of one host are connected by NVLink, PCIe or shared memory, and no network"
    if case.transport == RDMA and not any(port.active for port in rdma.ports()):
        return "this host has no active RDMA port: suite doctor lists what it has"
    return ""


def _no_such_format(case: Case) -> str:
    """Refuses a number format that the adapter lacks, which might otherwise compute in another."""
    if case.dtype == "tf32" and case.device != "cuda":
        return "TF32 is a format of NVIDIA's tensor cores: a CPU device has none"
    offered = traits_of(case.framework).dtypes
    if case.dtype in (*offered, "float64"):
        return ""
    return f"{case.framework} offers {', '.join(offered)}, not {case.dtype}"
