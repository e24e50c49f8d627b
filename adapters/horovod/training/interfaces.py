"""Which network interface Horovod's gloo uses, and its address."""

from __future__ import annotations

import socket

import psutil


def address_of(interface: str) -> str:
    """The IPv4 address of a network interface; raises where it has none."""
    for found in psutil.net_if_addrs().get(interface, []):
        if found.family == socket.AF_INET:
            return found.address
    raise OSError(f"the network interface {interface} has no IPv4 address")


def interface_of_host() -> str:
    """The interface that holds the address of this host's own name; empty where none does.

    Horovod 0.28.1 passes ``HOROVOD_GLOO_IFACE`` to its control plane only: the context of a process
    set, the global one too, is made with an empty name (``InitializeForProcessSet``), and gloo then
    takes the host name's address.
    """
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:  # the name does not resolve, or to an IPv6 address alone
        return ""
    if address.startswith("127."):
        return "lo"
    names = [
        name for name, found in psutil.net_if_addrs().items()
        if address in (one.address for one in found)
    ]
    return names[0] if names else ""
