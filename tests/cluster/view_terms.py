"""What the tests of the cluster view say in one word: records, entries, messages."""

from __future__ import annotations

from hypothesis import strategies as st

from partisan_actors.cluster.records import Member, RecordLimits, Status

ALIVE, LEFT, DOWN = Status.ALIVE, Status.LEFT, Status.DOWN
LIMITS = RecordLimits()


def member(
    node="b@h", epoch=1, bits=20, addresses=("h:2",), dialable=True, version=1, status=ALIVE, tag="", topology=0
):
    return Member(node, epoch, bits, addresses, dialable, version, status, tag, topology)


def entry(record, gone_for=-1):
    return (*record.to_term(), gone_for)


def news(*records, words=()):
    return ("news", tuple(map(entry, records)), tuple(words))


def view(*records):
    return ("view", tuple(map(entry, records)))


def hello(record, root=0, count=1):
    return ("hello", entry(record), root, count)


def word(record, suspector, refused=False):
    """That `suspector` suspects it."""
    return (record.node, record.epoch, record.bits, record.version, suspector, refused)


MEMBERS = st.builds(
    Member,
    st.sampled_from(["a@h", "b@h", "c@h"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([(), ("h:1",), ("h:1", "h:2")]),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from(Status),
    st.sampled_from(["", "server"]),
    st.integers(0, 1),
)

TERM = member().to_term()
MALFORMED = [
    (None, "shape"),
    ((), "shape"),
    (list(TERM), "shape"),
    (TERM[:-1], "shape"),
    ((*TERM, 1), "shape"),
    ((b"b@h", *TERM[1:]), "name"),
    ((1, *TERM[1:]), "name"),
    (((), *TERM[1:]), "name"),
    (("", *TERM[1:]), "name"),
    (("x" * 256, *TERM[1:]), "name"),
    (("\u00fc" * 128, *TERM[1:]), "name"),
    (("a\nb", *TERM[1:]), "name"),
    (("\ud800", *TERM[1:]), "name"),
    (("b@h", -1, *TERM[2:]), "life"),
    (("b@h", True, *TERM[2:]), "life"),
    (("b@h", 1.0, *TERM[2:]), "life"),
    (("b@h", 1, 1 << 64, *TERM[3:]), "life"),
    (("b@h", 1, 20, ["h:1"], *TERM[4:]), "shape"),
    (("b@h", 1, 20, ("h:1",) * 17, *TERM[4:]), "too many addresses"),
    (("b@h", 1, 20, (1,), *TERM[4:]), "address"),
    (("b@h", 1, 20, ("x" * 256,), *TERM[4:]), "address"),
    ((*TERM[:4], 1, *TERM[5:]), "shape"),
    ((*TERM[:5], -1, *TERM[6:]), "version"),
    ((*TERM[:5], 1 << 62, *TERM[6:]), "version"),
    ((*TERM[:5], True, *TERM[6:]), "version"),
    ((*TERM[:6], 0, *TERM[7:]), "status"),
    ((*TERM[:6], 4, *TERM[7:]), "status"),
    ((*TERM[:6], True, *TERM[7:]), "status"),
    ((*TERM[:7], None, 0), "tag"),
    ((*TERM[:7], "a\tb", 0), "tag"),
    ((*TERM[:8], -1), "topology"),
    ((*TERM[:8], 1 << 62), "topology"),
    ((*TERM[:8], "1"), "topology"),
]
