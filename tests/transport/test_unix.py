"""Unix sockets: the file, who may use it, and whose it is."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys

import pytest

from tests.conditions import wait_until

LEAVES_A_FILE = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "node")


def test_the_file_belongs_to_its_owner_and_goes_with_the_listener(unix, path):
    umask = os.umask(0)
    try:
        listener = unix.listen(unix.record, f"unix:{path}")
    finally:
        os.umask(umask)
    assert listener.address == f"unix:{path}"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    listener.close()
    assert not os.path.exists(path)


def test_a_dead_process_leaves_a_file_that_is_replaced(unix, path):
    subprocess.run([sys.executable, "-c", LEAVES_A_FILE, path], check=True)
    assert stat.S_ISSOCK(os.stat(path).st_mode)
    assert unix.failure(f"unix:{path}") == "refused"
    listener = unix.listen(unix.record, f"unix:{path}")
    assert unix.dial(listener.address).connection.peer_address == f"unix:{path}"


def test_a_live_listener_is_left_alone(unix, path):
    listener = unix.listen(unix.record, f"unix:{path}")
    with pytest.raises(OSError, match=f"cannot listen on unix:{path}: a live process listens there"):
        unix.listen(unix.record, f"unix:{path}")
    unix.dial(listener.address)
    # The probe was accepted as well, and is gone.
    wait_until(lambda: len([end for end in unix.ends if end.reason is None]) == 2, what="both ends of the dial")


def test_a_live_listener_with_a_full_queue_is_left_alone(unix, path):
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as filler:
        listening.bind(path)
        listening.listen(0)
        filler.connect(path)
        with pytest.raises(OSError, match="a live process listens there"):
            unix.listen(unix.record, f"unix:{path}")


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_left_alone(unix, path, kind):
    if kind == "file":
        with open(path, "w") as file:
            file.write("precious")
    elif kind == "folder":
        os.mkdir(path)
    else:
        os.symlink("/dev/null", path)
    with pytest.raises(OSError, match="the path exists and is no socket"):
        unix.listen(unix.record, f"unix:{path}")
    assert os.path.lexists(path)


def test_a_file_that_is_not_ours_any_more_is_left_alone(unix, path):
    listener = unix.listen(unix.record, f"unix:{path}")
    os.unlink(path)
    successor = unix.listen(unix.record, f"unix:{path}")
    listener.close()
    assert unix.dial(successor.address)
    os.unlink(path)
    successor.close()


def test_a_missing_folder_is_named(unix, path):
    with pytest.raises(OSError, match=f"cannot listen on unix:{path}/x: No such file or directory"):
        unix.listen(unix.record, f"unix:{path}/x")


def test_a_peer_is_named_by_its_process(unix):
    _, far = unix.pair()
    assert far.connection.peer_address == f"unix:uid={os.getuid()},pid={os.getpid()}"
