"""The transport in programs of every make: patched by gevent or not, on either of gevent's loops."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("loop", ["libev-cext", "libuv-cffi"])
@pytest.mark.parametrize("patching", ["plain", "patched"])
def test_an_echo(patching, loop, tmp_path):
    if loop == "libuv-cffi":
        pytest.importorskip("cffi", reason="gevent needs it for libuv")
    command = [sys.executable, "-W", "error", "-m", "tests.transport.echo_program", patching, str(tmp_path / "socket")]
    environment = os.environ | {"GEVENT_LOOP": loop}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert loop.partition("-")[0] in done.stdout
