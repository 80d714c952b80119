"""Addresses: what is read, what is refused with which words, and what a node advertises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.transport import (
    TcpAddress,
    UnixAddress,
    choose_advertised,
    format_address,
    is_wildcard,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", TcpAddress("127.0.0.1", 80)),
        ("example.org:0", TcpAddress("example.org", 0)),
        ("a_b-c.example.:65535", TcpAddress("a_b-c.example.", 65535)),
        ("[::1]:4000", TcpAddress("::1", 4000)),
        ("[fe80::1%eth0]:4000", TcpAddress("fe80::1%eth0", 4000)),
        ("unix:/run/a:b", UnixAddress("/run/a:b")),
    ],
)
def test_what_is_read_is_written_the_same(text, address):
    assert parse_address(text) == address
    assert format_address(address) == text


def test_ipv6_has_one_text():
    assert format_address(parse_address("[0:0:0:0:0:0:0:1]:80")) == "[::1]:80"
    assert format_address(parse_address("[2001:DB8::0]:80")) == "[2001:db8::]:80"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has no port"),
        ("localhost", "has no port"),
        ("[::1]", "has no port"),
        ("localhost:", "port must be a number"),
        ("localhost:http", "port must be a number"),
        ("localhost:-1", "port must be a number"),
        ("localhost:65536", "port must be a number"),
        ("localhost:٣", "port must be a number"),
        (":80", "has no host"),
        ("::1:80", "goes in brackets"),
        ("[127.0.0.1]:80", "expected in"),
        ("[::1:80", "goes in brackets"),
        ("[]:80", "empty"),
        ("127.1:80", "four decimal numbers"),
        ("127.0.0.01:80", "four decimal numbers"),
        ("0:80", "four decimal numbers"),
        ("0x7f000001:80", "four decimal numbers"),
        ("a b:80", "no host name"),
        ("http://a:80", "goes in brackets"),
        ("//a:80", "no host name"),
        ("a" * 254 + ":80", "no host name"),
        ("unix:relative", "must be absolute"),
        ("unix:", "must be absolute"),
        ("unix:/a\0b", "zero byte"),
        ("unix:/" + "a" * 107, "longer than the 107 bytes"),
        ("unix:/" + "ä" * 60, "longer than the 107 bytes"),
    ],
)
def test_what_cannot_be_read_is_named(text, complaint):
    with pytest.raises(ValueError, match="address") as caught:
        parse_address(text)
    assert complaint in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(format_address(address)) == address


@pytest.mark.parametrize("text", ["0.0.0.0:1", "[::]:1", "[0::0]:0", "[::ffff:0.0.0.0]:1", "[::%lo]:1"])
def test_wildcards(text):
    assert is_wildcard(text)


@pytest.mark.parametrize("text", ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/0.0.0.0"])
def test_no_wildcards(text):
    assert not is_wildcard(text)


@pytest.mark.parametrize(
    ("advertise", "bound", "chosen"),
    [
        (None, [], None),
        (None, ["127.0.0.1:5"], "127.0.0.1:5"),
        (None, ["0.0.0.0:5", "10.0.0.7:6", "10.0.0.8:7"], "10.0.0.7:6"),
        (None, ["unix:/a", "127.0.0.1:5"], "127.0.0.1:5"),
        (None, ["0.0.0.0:5", "unix:/a"], "unix:/a"),
        ("shop.example:7", ["0.0.0.0:5"], "shop.example:7"),
        ("shop.example:0", ["0.0.0.0:5"], "shop.example:5"),
        ("[::1]:0", ["unix:/a", "[::]:5"], "[::1]:5"),
        ("unix:/b", ["unix:/a"], "unix:/b"),
    ],
)
def test_what_is_advertised(advertise, bound, chosen):
    assert choose_advertised(advertise, bound) == chosen


@pytest.mark.parametrize(
    ("advertise", "bound", "complaint"),
    [
        (None, ["0.0.0.0:5", "[::]:6"], r'listening on 0.0.0.0:5, \[::\]:6: say with advertise="host:port"'),
        ("0.0.0.0:5", ["0.0.0.0:5"], "is a wildcard"),
        ("[::]:5", ["0.0.0.0:5"], "is a wildcard"),
        ("a:0", ["0.0.0.0:5", "[::]:6"], "port 0"),
        ("a:0", ["unix:/a"], "port 0"),
        ("a:1", [], "does not listen"),
        ("a", ["0.0.0.0:5"], "has no port"),
    ],
)
def test_what_cannot_be_advertised(advertise, bound, complaint):
    with pytest.raises(ValueError, match=complaint):
        choose_advertised(advertise, bound)
