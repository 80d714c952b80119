"""The shared secret of a cluster: given, or from the environment, or from a file of the user's."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

__all__ = ["COOKIE_FILE", "COOKIE_VARIABLE", "find_cookies"]

COOKIE_VARIABLE = "PARTISAN_COOKIE"
COOKIE_FILE = ".partisan.cookie"

Cookie = str | bytes


def find_cookies(
    given: Cookie | tuple[Cookie, ...] | None, environment: Mapping[str, str] | None = None, home: Path | None = None
) -> tuple[bytes, ...]:
    """The cookies of a node, the one that it proves with first.

    Args:
        given: what the program gave; it wins.
        environment: where PARTISAN_COOKIE is looked up; the process's by default.
        home: where `.partisan.cookie` is read, or made with mode 0600; the user's home by default.

    Raises:
        ValueError: a cookie is missing or empty; the handshake checks its length.
        PermissionError: the file can be read by others.
    """
    if given is not None:
        several = given if isinstance(given, tuple) else (given,)
        if not several:
            raise ValueError("cookie=() accepts nobody: give at least one cookie")
        return tuple(_as_bytes(cookie) for cookie in several)
    variable = (os.environ if environment is None else environment).get(COOKIE_VARIABLE)
    if variable:
        return (_as_bytes(variable),)
    return (_from_file((Path.home() if home is None else home) / COOKIE_FILE),)


def _as_bytes(cookie: Cookie) -> bytes:
    if isinstance(cookie, str):
        return cookie.encode()
    if isinstance(cookie, bytes):
        return cookie
    raise TypeError(f"a cookie is a str or bytes, not {type(cookie).__name__}")


def _from_file(path: Path) -> bytes:
    if path.exists():
        return _read(path)
    # Written aside and linked into place: of two nodes that start at once one link fails, and
    # neither reads a file that is half there.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
    return _read(path)


def _read(path: Path) -> bytes:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise PermissionError(f"{path} can be read by others (mode {mode:o}): chmod 600 it, and change the cookie")
    cookie = path.read_bytes().strip()
    if not cookie:
        raise ValueError(f"{path} is empty: delete it, or write a secret of 16 bytes or more into it")
    return cookie
