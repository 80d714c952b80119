"""Addresses as users write them: "host:port", "[v6]:port" and "unix:/path".

One address has one text: IPv6 is compressed and lower-cased on the way through, and the short
and octal forms of IPv4 ("127.1", "010.0.0.1") are refused, because resolvers disagree on them.
Nothing here opens a socket or asks a resolver.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "TcpAddress",
    "UnixAddress",
    "choose_advertised",
    "format_address",
    "is_numeric",
    "is_wildcard",
    "parse_address",
]

UNIX_PREFIX = "unix:"
# sun_path holds 108 bytes on Linux with the closing zero, 104 on the BSDs and macOS; the kernel judges those.
LONGEST_UNIX_PATH = 107
LONGEST_HOST = 253  # RFC 1035, section 2.3.4, as text without the root's dot
FORBIDDEN_IN_HOSTS = frozenset("/@[]%\"'\\,;?#")


class TcpAddress(NamedTuple):
    """A host, by name or number (IPv6 without brackets), and a port; port 0 is any free one."""

    host: str
    port: int


class UnixAddress(NamedTuple):
    """The absolute path of a unix socket."""

    path: str


def parse_address(text: str) -> TcpAddress | UnixAddress:
    """Read an address.

    Args:
        text: "host:port", "[v6]:port" or "unix:/path".

    Raises:
        ValueError: says what is wrong with which address.
    """
    if text.startswith(UNIX_PREFIX):
        return UnixAddress(_checked_path(text.removeprefix(UNIX_PREFIX), text))
    host, colon, port = text.rpartition(":")
    if not colon or port.endswith("]"):
        raise ValueError(f'address {text!r} has no port: write "host:port", "[v6]:port" or "unix:/path"')
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"address {text!r}: the port must be a number from 0 to 65535, not {port!r}")
    return TcpAddress(_checked_host(host, text), int(port))


def format_address(address: TcpAddress | UnixAddress) -> str:
    """Write an address so that `parse_address` reads it."""
    if isinstance(address, UnixAddress):
        return UNIX_PREFIX + address.path
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def is_numeric(host: str) -> bool:
    """Whether `host` is an IP address, which needs no resolver."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_wildcard(text: str) -> bool:
    """Whether an address means every interface ("0.0.0.0:80", "[::]:80"), so that nobody can dial it.

    Raises:
        ValueError: the address cannot be read.
    """
    address = parse_address(text)
    if isinstance(address, UnixAddress) or not is_numeric(address.host):
        return False
    number = ipaddress.ip_address(address.host)
    mapped = number.ipv4_mapped if isinstance(number, ipaddress.IPv6Address) else None
    return number.is_unspecified or (mapped is not None and mapped.is_unspecified)


def choose_advertised(advertise: str | None, bound: Sequence[str]) -> str | None:
    """Choose the address that other nodes are told to dial.

    Args:
        advertise: what the user asked for; its port may be 0 for the port that was bound. None: of
            `bound`, the first that is no wildcard, TCP before unix since it reaches other machines.
        bound: the addresses that listeners are really bound to.

    Returns:
        The address, or None for a node that accepts nobody.

    Raises:
        ValueError: `advertise` cannot be dialled, or there is nothing but wildcards to choose from.
    """
    if advertise is not None:
        return _checked_advertised(advertise, bound)
    if not bound:
        return None
    choices = [text for text in bound if not is_wildcard(text)]
    if not choices:
        raise ValueError(f'listening on {", ".join(bound)}: say with advertise="host:port" what other nodes dial')
    return next((text for text in choices if not text.startswith(UNIX_PREFIX)), choices[0])


def _checked_advertised(advertise: str, bound: Sequence[str]) -> str:
    address = parse_address(advertise)
    if is_wildcard(advertise):
        raise ValueError(f"advertise={advertise!r} is a wildcard, which no other node can dial")
    if not bound:
        raise ValueError(f"advertise={advertise!r} on a node that does not listen")
    if isinstance(address, UnixAddress) or address.port:
        return format_address(address)
    ports = {listening.port for listening in map(parse_address, bound) if isinstance(listening, TcpAddress)}
    if len(ports) != 1:
        raise ValueError(f"advertise={advertise!r} has port 0, which fits only a node listening on one TCP port")
    return format_address(TcpAddress(address.host, ports.pop()))


def _checked_path(path: str, text: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"address {text!r}: the path of a unix socket must be absolute")
    if "\0" in path:
        raise ValueError(f"address {text!r}: a path cannot hold a zero byte")
    if len(os.fsencode(path)) > LONGEST_UNIX_PATH:
        raise ValueError(f"address {text!r}: the path is longer than the {LONGEST_UNIX_PATH} bytes of a unix socket's")
    return path


def _checked_host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError as error:
            raise ValueError(f"address {text!r}: {error}") from None
    if not host:
        raise ValueError(f'address {text!r} has no host; "0.0.0.0" and "[::]" are every interface')
    if ":" in host:
        raise ValueError(f'address {text!r}: an IPv6 address goes in brackets, "[{host}]:port"')
    if len(host) > LONGEST_HOST or any(sign in FORBIDDEN_IN_HOSTS or sign <= " " for sign in host):
        raise ValueError(f"address {text!r}: {host[:LONGEST_HOST]!r} is no host name")
    if not is_numeric(host) and _is_loose_number(host):
        raise ValueError(f"address {text!r}: write an IPv4 address as four decimal numbers without leading zeros")
    return host


def _is_loose_number(host: str) -> bool:
    """Whether the C library would read `host` as an IPv4 address though the strict reader does not."""
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True
