"""Addresses that this machine can listen on, and the names that a request may call it by."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
ANY_ADDRESS = frozenset({"0.0.0.0", "::"})


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def hosts_for(bound: str) -> frozenset[str]:
    """The names that a Host header may carry: loopback, and the address that is listened on.

    Listening on every address, the machine can be called by names that nobody here knows: the set is empty.
    """
    bound = bound.strip("[]").lower()
    return frozenset() if bound in ANY_ADDRESS else LOOPBACK_NAMES | {bound}


def host_name(header: str) -> str:
    """The name in a Host header, without its port.

    >>> host_name("LocalHost:7860"), host_name("[::1]:7860"), host_name("")
    ('localhost', '::1', '')
    """
    header = header.strip().lower()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rsplit(":", 1)[0] if ":" in header else header


def cannot_bind(host: str, port: int) -> OSError | None:
    """Why nothing can listen there; None where it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def free_port(host: str, start: int, but: Collection[int] = ()) -> int:
    """The first free port from `start` on, none of `but`; `start` itself where two hundred are taken."""
    ports = (port for port in range(start, min(start + 200, 65536)) if port not in but)
    return next((port for port in ports if cannot_bind(host, port) is None), start)


def shown(host: str) -> str:
    """The address as a program on this machine can open it."""
    host = host.strip("[]")
    if host in ANY_ADDRESS:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
