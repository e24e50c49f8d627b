"""Finds the network interface that Horovod's gloo uses, and its address."""

from __future__ import annotations

import socket

import psutil


def address_of(interface: str) -> str:
    """Returns the IPv4 address of a network interface.

    Raises:
        OSError: If it has none.
    """
    for address in psutil.net_if_addrs().get(interface, []):
        if address.family == socket.AF_INET:
            return address.address
    raise OSError(f"the network interface {interface} has no IPv4 address")


def interface_of_host() -> str:
    """Returns the interface that has the address of this host's own name; empty if none has it.

    Horovod 0.28.1 passes ``HOROVOD_GLOO_IFACE`` only to its control plane. It creates the context
    of every process set, even that of the global one, with an empty name
    (``InitializeForProcessSet``), and gloo then takes the address of the host name.
    """
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:  # the name does not resolve, or only to an IPv6 address
        return ""
    if address.startswith("127."):
        return "lo"
    names = [
        name for name, addresses in psutil.net_if_addrs().items()
        if address in (each.address for each in addresses)
    ]
    return names[0] if names else ""
