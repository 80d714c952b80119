"""What a causal label may be."""

from __future__ import annotations

import pytest

from partisan_actors.distribution.causal_label import CausalLabel, check_causal_labels


def test_members_are_sorted_whatever_they_came_in():
    assert CausalLabel("orders", ["b@host", "a@host"]) == CausalLabel("orders", ("a@host", "b@host"))
    assert hash(CausalLabel("orders", {"a@host"})) == hash(CausalLabel("orders", ("a@host",)))


@pytest.mark.parametrize(
    ("name", "members", "error", "text"),
    [
        (1, ("a@host",), TypeError, "name is a str"),
        ("", ("a@host",), ValueError, "1 to 64"),
        ("x" * 65, ("a@host",), ValueError, "1 to 64"),
        ("a\n", ("a@host",), ValueError, "printable"),
        ("x", "a@host", TypeError, "tuple of node names"),
        ("x", None, TypeError, "tuple of node names"),
        ("x", (1,), TypeError, "names of nodes"),
        ("x", ("a",), ValueError, "x@host"),
        ("x", ("a@",), ValueError, "x@host"),
        ("x", ("a@b@c",), ValueError, "x@host"),
        ("x", (), ValueError, "1 to 128"),
        ("x", [f"n{number}@host" for number in range(129)], ValueError, "split"),
        ("x", ("a@host", "b@host", "a@host"), ValueError, "twice"),
    ],
)
def test_wrong_ones_are_refused(name, members, error, text):
    with pytest.raises(error, match=text):
        CausalLabel(name, members)


def test_a_node_checks_what_it_declares():
    one, other = CausalLabel("one", ("a@host", "b@host")), CausalLabel("other", ("a@host",))
    assert check_causal_labels((one, other), "a@host") == {"one": one, "other": other}
    with pytest.raises(ValueError, match="not among its members"):
        check_causal_labels((one, other), "b@host")
    with pytest.raises(ValueError, match="twice"):
        check_causal_labels((one, one), "a@host")
    with pytest.raises(TypeError, match="CausalLabel"):
        check_causal_labels(("one",), "a@host")
