"""Mutual TLS: a node's certificate files, when they are read again, and which nodes a certificate names.

Promises: both sides show a certificate that the files of `ca` vouch for, by TLS 1.3 or not at all; no session
resumption, so every connection is judged by what it shows. A connection that is made after the files have changed
uses the new ones, and one that exists goes on. Files that cannot be used leave those before in use, with one line in
the log for each change of them. The files are small and local: they are read in the hub.

A certificate names nodes by its subjectAltName; the common name counts for nothing:

- a URI `partisan:orders@10.0.0.7`, or an email entry `orders@10.0.0.7`, names that node. A certificate that has any
  of these names those nodes only;
- else a DNS name or an IP address names every node whose name has it behind the "@".

Wildcards name nobody: what a certificate is good for must not include its neighbours.

Does not know how bytes are encrypted (see `tls_connection`), nor what a peer says its name is.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from gevent.monkey import get_original

__all__ = ["TLS", "Credentials", "TlsCredentials", "describe_tls_error", "naming_objection", "problem_with"]

NODE_URI = "partisan:"

_LEAF = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_LOADS = 3  # files that change while they are read are read again

_log = structlog.get_logger("partisan_actors")


@dataclass(frozen=True, slots=True)
class TLS:
    """What a node proves itself with, and by whom others must be vouched for; checked when made.

    Args:
        certificate: path of a PEM file: the node's certificate, then the intermediate ones.
        key: path of the PEM file of its private key, without a password.
        ca: path of a PEM file of the authorities whose certificates are accepted.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not what it should be, or the key is of another certificate.
    """

    certificate: str | os.PathLike[str]
    key: str | os.PathLike[str]
    ca: str | os.PathLike[str]

    def __post_init__(self) -> None:
        for name in ("certificate", "key", "ca"):
            path = getattr(self, name)
            if not isinstance(path, (str, os.PathLike)):
                raise TypeError(f"TLS({name}=...) is the path of a PEM file, not {type(path).__name__}")
        _load(self)


class Credentials(NamedTuple):
    """What was read from the files."""

    client: ssl.SSLContext
    server: ssl.SSLContext
    fingerprint: bytes  # SHA-256 of the own leaf certificate


class TlsCredentials:
    """The credentials of a node, read again when the files have changed."""

    def __init__(self, tls: TLS) -> None:
        """Read them. Raises as `TLS` does."""
        self._tls = tls
        self._stamp = _stamp(tls)
        self._current = _load(tls)

    def current(self) -> Credentials:
        """Those to use for a connection that begins now."""
        stamp = _stamp(self._tls)
        if stamp == self._stamp:
            return self._current
        # Taken as seen whatever comes of it, so that files that cannot be used cost one attempt and one line.
        self._stamp = stamp
        try:
            self._current = _load(self._tls)
        except (OSError, ValueError) as error:
            _log.warning("certificate_reload_failed", certificate=str(self._tls.certificate), reason=str(error))
        else:
            _log.info("certificate_reloaded", certificate=str(self._tls.certificate))
        return self._current


def problem_with(tls: TLS, node: str) -> str | None:
    """Why other nodes would not take this certificate for `node`'s, by the same `ca`; None when they would."""
    credentials = _load(tls)
    to_client, to_server = _new_bio(), _new_bio()
    client = credentials.client.wrap_bio(to_client, to_server)
    server = credentials.server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (client, server, client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
        return naming_objection(server.getpeercert() or {}, node)
    except ssl.SSLError as error:
        return describe_tls_error(error)


def naming_objection(certificate: Mapping[str, Any], node: str) -> str | None:
    """Why a certificate does not name `node`; None when it does.

    Args:
        certificate: as `getpeercert` gives it.
    """
    names = certificate.get("subjectAltName", ())
    exact = [text.removeprefix(NODE_URI) for kind, text in names if kind == "URI" and text.startswith(NODE_URI)]
    exact += [text for kind, text in names if kind == "email"]
    if exact:
        return None if node in exact else f"the certificate is that of {_several(exact)}, not of {node}"
    host = node.rpartition("@")[2]
    hosts = [text.strip() for kind, text in names if kind in ("DNS", "IP Address")]
    if any(_is_host(kind, text.strip(), host) for kind, text in names):
        return None
    return f"the certificate is for {_several(hosts)}, not for {host}, the host of {node}"


def describe_tls_error(error: ssl.SSLError) -> str:
    """What went wrong, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return str(error.reason or error).replace("_", " ").lower()


def _is_host(kind: str, text: str, host: str) -> bool:
    if kind == "DNS":
        return text.lower().rstrip(".") == host.lower().rstrip(".") != ""
    if kind != "IP Address":
        return False
    try:
        return ipaddress.ip_address(text) == ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False


def _several(names: list[str]) -> str:
    # They come from a peer, and go to a log.
    shown = [name[:255] if name.isprintable() else repr(name[:255]) for name in names[:4]]
    return " and ".join(shown + (["others"] if len(names) > 4 else [])) or "nobody"


def _stamp(tls: TLS) -> tuple[Any, ...]:
    """What changes when a file is written again, or another is put in its place."""
    stamps: list[Any] = []
    for path in (tls.certificate, tls.key, tls.ca):
        try:
            status = os.stat(path)
        except OSError as error:
            stamps.append(error.errno)
        else:
            stamps.append((status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev))
    return tuple(stamps)


def _load(tls: TLS) -> Credentials:
    for _ in range(_LOADS):
        before = _stamp(tls)
        leaf = _LEAF.search(_read(tls.certificate, "certificate"))
        if leaf is None:
            raise ValueError(f"TLS: {tls.certificate} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
        client, server = _context(ssl.PROTOCOL_TLS_CLIENT, tls), _context(ssl.PROTOCOL_TLS_SERVER, tls)
        # Both contexts and the leaf have to be of the same files: the other end binds its proof to the leaf it sees.
        if _stamp(tls) == before:
            der = ssl.PEM_cert_to_DER_cert(leaf[0].decode("ascii", "replace"))
            return Credentials(client, server, hashlib.sha256(der).digest())
    raise ValueError(f"TLS: {tls.certificate} or a file that belongs to it is being written all the time")


def _read(path: str | os.PathLike[str], what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise OSError(error.errno, f"TLS: cannot read the {what}: {error.strerror}", os.fspath(path)) from None


def _context(protocol: int, tls: TLS) -> ssl.SSLContext:
    _read(tls.key, "key")
    _read(tls.ca, "ca")
    # Of the standard library's class, in programs that are monkey-patched too. Its setters look up the name SSLContext
    # in their module, where gevent's class then stands, and never come back: so those of its base are called.
    context_class = get_original("ssl", "SSLContext")
    base = context_class.__base__
    context: ssl.SSLContext = context_class(protocol)
    base.minimum_version.__set__(context, ssl.TLSVersion.TLSv1_3)
    # The name is checked by `naming_objection`, when the peer has said which node it is.
    base.check_hostname.__set__(context, False)
    base.verify_mode.__set__(context, ssl.CERT_REQUIRED)
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    try:
        context.load_verify_locations(os.fspath(tls.ca))
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"TLS: {tls.ca} holds no certificates of authorities in PEM: {error}") from None
    try:
        context.load_cert_chain(os.fspath(tls.certificate), os.fspath(tls.key), _no_password)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(_why_not_loaded(tls, error)) from None
    return context


def _no_password() -> str:
    # Without this OpenSSL would ask for one on the terminal, and the program would stand.
    raise ValueError("the key has a password; write it without one, readable by the node's user only")


def _why_not_loaded(tls: TLS, error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH" or reason == "KEY_TYPE_MISMATCH":
        return f"TLS: the key {tls.key} is not that of the certificate {tls.certificate}: give two that belong together"
    if not isinstance(error, ssl.SSLError):
        return f"TLS: {tls.key}: {error}"
    return f"TLS: {tls.certificate} and {tls.key} are not a certificate and its key in PEM: {error}"


def _new_bio() -> ssl.MemoryBIO:
    return ssl.MemoryBIO()
