"""Unix sockets: the file, who may use it, and whose it is."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile

import pytest

from partisan_actors.transport import unix as unix_module
from tests.conditions import wait_until

NOBODY = 65534
AS_NOBODY = pytest.mark.skipif(
    os.geteuid() != 0 or not hasattr(socket, "SO_PEERCRED"), reason="only root can become another user"
)
# argv: the folder, the name of the socket in it, and whether to "dial" or to "listen" there as somebody else.
ANOTHER_USER = f"""
import os, socket, sys
os.chdir(sys.argv[1])
sock = socket.socket(socket.AF_UNIX)
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
if sys.argv[3] == "dial":
    sock.connect(sys.argv[2])
    sock.sendall(b"let me in")
else:
    sock.bind(sys.argv[2])
    sock.listen()
    print("listening", flush=True)
    sock, _ = sock.accept()
print(sock.recv(100), flush=True)
"""
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


@pytest.fixture
def as_nobody():
    """Runs ANOTHER_USER in a folder that everybody may use."""
    folder = tempfile.mkdtemp(prefix="anybody-")
    os.chmod(folder, 0o777)
    children = []

    def run(doing):
        command = [sys.executable, "-c", ANOTHER_USER, folder, "node", doing]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return children[-1]

    run.path = f"{folder}/node"
    yield run
    for child in children:
        child.kill()
        child.communicate()
    shutil.rmtree(folder)


@AS_NOBODY
def test_another_user_who_dials_is_refused(unix, as_nobody):
    listener = unix.listen(unix.record, f"unix:{as_nobody.path}")
    os.chmod(as_nobody.path, 0o777)  # as if somebody had taken the first lock off
    child = as_nobody("dial")
    wait_until(lambda: unix.ends and unix.ends[0].reason, 20.0, what="refused")
    (end,) = unix.ends
    assert end.reason == f"another user: the other side is user {NOBODY}, and this is user {os.geteuid()}"
    assert end.data == b""
    assert end.connection.peer_address.startswith(f"unix:uid={NOBODY},")
    out, error = child.communicate(timeout=20)
    assert out == "b''\n" or "ConnectionResetError" in error or "BrokenPipeError" in error
    unix.dial(listener.address)


@AS_NOBODY
def test_another_user_who_listens_is_not_talked_to(unix, as_nobody):
    child = as_nobody("listen")
    assert child.stdout.readline() == "listening\n"
    reason = f"unreachable: another user: the other side is user {NOBODY}, and this is user {os.geteuid()}"
    assert unix.failure(f"unix:{as_nobody.path}") == reason
    out, _ = child.communicate(timeout=20)
    assert out == "b''\n"


@pytest.mark.parametrize(("own", "accepted"), [(NOBODY, True), (0, True), (4711, False)])
def test_ones_own_user_and_root_are_let_in(unix, monkeypatch, own, accepted):
    # This process is the peer, and so the peer's user is what it runs as.
    uid = os.geteuid() if own == 0 else own
    monkeypatch.setattr(unix_module, "_peer_process", lambda sock: (1, uid))
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY if own != 0 else uid)
    listener = unix.listen(unix.record)
    if accepted:
        assert unix.dial(listener.address)
    else:
        assert "another user" in unix.failure(listener.address)


def test_a_peer_is_named_by_its_process(unix):
    _, far = unix.pair()
    assert far.connection.peer_address == f"unix:uid={os.getuid()},pid={os.getpid()}"
