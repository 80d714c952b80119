"""Both ends of the handshake joined by a wire that a test may listen to, change, cut and play back."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partisan_actors.wire.frames import DATA, HELLO, KINDS, PROOF, REFUSAL
from partisan_actors.wire.handshake import (
    EXPECTED,
    MAX_HANDSHAKE_BODY,
    Check,
    Effect,
    Established,
    Handshake,
    Hello,
    Keys,
    MakeHello,
    Purpose,
    Refusal,
    RefusalCode,
    Refused,
    Send,
    State,
    agree_session,
    derive_key,
    negotiate,
)

INITIATOR, ACCEPTOR = "initiator", "acceptor"

ALICE = Hello(
    node="alice@h",
    epoch=5,
    bits=0xA11CE,
    nonce=b"a" * 32,
    features=0b0110,
    topology="full_mesh",
    last_session=4,
    channels=(("default", 1, 0), ("bulk", 4, 1)),
    addresses=("10.0.0.1:4000", "unix:/tmp/alice"),
    purpose=Purpose.JOIN,
)
BOB = Hello(node="bob@h", epoch=9, bits=0xB0B, nonce=b"b" * 32, features=0b1100, topology="full_mesh", last_session=7)

# Derived keys look like this; only the tests of derive_key pay for scrypt.
KEY, SECOND_KEY, OTHER_KEY = (bytes([number]) * 32 for number in (1, 2, 3))
KEYS = Keys.derived((KEY,))

Change = Callable[[int, int, bytes], tuple[int, bytes] | None]


@pytest.fixture(scope="session")
def cookie_key() -> bytes:
    """The key of COOKIE; made once, as scrypt is slow on purpose."""
    return derive_key(COOKIE)


COOKIE = b"a cookie of enough bytes"


class Pair:
    """An initiator and an acceptor, and every frame and effect between them in order."""

    def __init__(
        self,
        hello: Hello = ALICE,
        answer: Hello | Refusal = BOB,
        *,
        keys: tuple[Keys, Keys] = (KEYS, KEYS),
        bindings: tuple[bytes, bytes] = (b"", b""),
        checks: tuple[Check | None, Check | None] = (None, None),
        make_hello: MakeHello | None = None,
    ) -> None:
        self.ends = {
            INITIATOR: Handshake.initiator(hello, keys[0], bindings[0], checks[0]),
            ACCEPTOR: Handshake.acceptor(make_hello or (lambda _: answer), keys[1], bindings[1], checks[1]),
        }
        self.frames: list[tuple[str, int, bytes]] = []
        self.effects: dict[str, list[Effect]] = {INITIATOR: [], ACCEPTOR: []}

    def run(self, change: Change = lambda _, kind, body: (kind, body)) -> Pair:
        """Carry frames until there are none. `change` gets the number of each frame and gives what arrives of it."""
        on_the_way: deque[tuple[str, Send]] = deque()
        self._take(INITIATOR, self.ends[INITIATOR].start(), on_the_way)
        self._take(ACCEPTOR, self.ends[ACCEPTOR].start(), on_the_way)
        while on_the_way:
            sender, (kind, body) = on_the_way.popleft()
            arrives = change(len(self.frames), kind, body)
            self.frames.append((sender, kind, body))
            receiver = ACCEPTOR if sender == INITIATOR else INITIATOR
            if arrives is not None:
                self._take(receiver, self.ends[receiver].step(*arrives), on_the_way)
        return self

    def _take(self, end: str, effects: list[Effect], on_the_way: deque[tuple[str, Send]]) -> None:
        self.effects[end] += effects
        on_the_way += [(end, effect) for effect in effects if isinstance(effect, Send)]

    def established(self, end: str) -> Established | None:
        return next((effect for effect in self.effects[end] if isinstance(effect, Established)), None)

    def refused(self, end: str) -> Refused:
        (refused,) = (effect for effect in self.effects[end] if isinstance(effect, Refused))
        assert self.effects[end][-1] is refused
        assert self.ends[end].state is State.ENDED
        return refused

    def kinds(self) -> list[int]:
        return [kind for _, kind, _ in self.frames]


def refuses(code: RefusalCode, detail: int = 0, text: str = "") -> Check:
    return lambda _: Refusal(code, detail, text)


# ---- the way it goes when all is well


def test_both_ends_are_established_with_what_both_have() -> None:
    pair = Pair().run()
    assert pair.kinds() == [HELLO, HELLO, PROOF, PROOF]
    assert [sender for sender, *_ in pair.frames] == [INITIATOR, ACCEPTOR, INITIATOR, ACCEPTOR]
    assert pair.established(INITIATOR) == Established(BOB, 1, 0b0100, 0)
    assert pair.established(ACCEPTOR) == Established(ALICE, 1, 0b0100, 0)


def test_the_acceptors_hello_follows_from_the_initiators() -> None:
    seen: list[Hello] = []

    def make_hello(peer: Hello) -> Hello:
        seen.append(peer)
        return dataclasses.replace(BOB, session=3, peer_bits=peer.bits)

    pair = Pair(make_hello=make_hello).run()
    assert seen == [ALICE]
    established = pair.established(INITIATOR)
    assert established is not None
    assert established.peer.peer_bits == ALICE.bits


def test_checks_see_only_peers_that_have_proved_themselves() -> None:
    seen: list[tuple[str, Hello]] = []

    def note(end: str) -> Check:
        return lambda peer: seen.append((end, peer))

    checks = (note(INITIATOR), note(ACCEPTOR))
    Pair(keys=(Keys.derived((OTHER_KEY,)), KEYS), checks=checks).run()
    assert seen == []
    Pair(checks=checks).run()
    assert seen == [(ACCEPTOR, ALICE), (INITIATOR, BOB)]


def test_a_channel_can_be_bound_after_the_start() -> None:
    for bindings, established in (((b"leaf", b"leaf"), True), ((b"leaf", b"another"), False)):
        pair = Pair()
        for end, binding in zip((INITIATOR, ACCEPTOR), bindings, strict=True):
            pair.ends[end].bind(binding)
        assert bool(pair.run().established(INITIATOR)) == established


def test_the_same_channel_binding_is_needed() -> None:
    assert Pair(bindings=(b"leaf", b"leaf")).run().established(INITIATOR)
    pair = Pair(bindings=(b"leaf", b"another")).run()
    assert pair.refused(ACCEPTOR) == Refused(Refusal(RefusalCode.COOKIE), by_us=True)


def test_a_driver_that_gives_views_is_served() -> None:
    acceptor = Handshake.acceptor(lambda _: BOB, KEYS)
    assert isinstance(acceptor.step(HELLO, memoryview(bytearray(ALICE.encode())))[0], Send)


# ---- cookies


def test_a_wrong_cookie_is_refused_before_any_proof_of_the_acceptor() -> None:
    pair = Pair(keys=(Keys.derived((OTHER_KEY,)), KEYS)).run()
    assert pair.kinds() == [HELLO, HELLO, PROOF, REFUSAL]
    assert pair.refused(ACCEPTOR) == Refused(Refusal(RefusalCode.COOKIE), by_us=True)
    assert pair.refused(INITIATOR) == Refused(Refusal(RefusalCode.COOKIE), by_us=False)
    assert str(pair.refused(INITIATOR).refusal) == "the cookie does not match"


def test_an_acceptor_that_only_repeats_the_initiators_proof_is_refused() -> None:
    pair = Pair()
    pair.run(lambda number, kind, body: (kind, pair.frames[2][2]) if number == 3 else (kind, body))
    assert pair.established(INITIATOR) is None
    assert pair.refused(INITIATOR).refusal.code == RefusalCode.COOKIE


@pytest.mark.parametrize(
    ("initiator", "acceptor", "index"),
    [
        ((KEY, SECOND_KEY), (SECOND_KEY, KEY), 1),
        ((SECOND_KEY, KEY), (KEY, SECOND_KEY), 1),
        ((KEY,), (SECOND_KEY, KEY), 1),
        ((SECOND_KEY,), (KEY, SECOND_KEY), 1),
        ((KEY, SECOND_KEY), (KEY,), 0),
    ],
)
def test_rotation_first_and_second_keys_in_both_directions(
    initiator: tuple[bytes, ...], acceptor: tuple[bytes, ...], index: int
) -> None:
    pair = Pair(keys=(Keys.derived(initiator), Keys.derived(acceptor))).run()
    for end, expected in ((INITIATOR, 0), (ACCEPTOR, index)):
        established = pair.established(end)
        assert established is not None
        assert established.key_index == expected


def test_an_initiator_whose_first_key_is_unknown_there_is_refused() -> None:
    pair = Pair(keys=(Keys.derived((SECOND_KEY, KEY)), KEYS)).run()
    assert pair.refused(INITIATOR).refusal.code == RefusalCode.COOKIE


def test_the_key_of_a_cookie_is_the_same_everywhere(cookie_key: bytes) -> None:
    # Fixed for ever: nodes of different versions have to come to the same key.
    assert cookie_key.hex() == "24beb739ec35f40d77e42e27320ec37dc51112a99f4b53f51744c572034359bf"
    keys = Keys([COOKIE])
    assert keys.prove(b"message") == Keys.derived([cookie_key]).prove(b"message")
    assert keys.match(keys.prove(b"message"), b"message") == 0
    assert COOKIE.decode() not in repr(keys)
    assert cookie_key.hex() not in repr(keys)


def test_a_short_cookie_is_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="at least 16, random ones"):
        derive_key(b"15 bytes or so.")
    with pytest.raises(ValueError, match="at least 16"):
        Keys([b""])
    with pytest.raises(ValueError, match="at least one"):
        Keys([])
    with pytest.raises(ValueError, match="at least one"):
        Keys.derived([])


# ---- versions


@pytest.mark.parametrize(
    ("mine", "peers", "expected"),
    [((1, 1), (1, 1), 1), ((1, 3), (2, 5), 3), ((4, 9), (1, 4), 4), ((1, 2), (3, 4), None), ((7, 8), (5, 6), None)],
)
def test_the_highest_common_version_is_spoken(
    mine: tuple[int, int], peers: tuple[int, int], expected: int | None
) -> None:
    alice = dataclasses.replace(ALICE, protocol_min=mine[0], protocol_max=mine[1])
    bob = dataclasses.replace(BOB, protocol_min=peers[0], protocol_max=peers[1])
    assert negotiate(alice, bob) == negotiate(bob, alice) == expected
    pair = Pair(alice, bob).run()
    if expected is not None:
        assert {pair.established(end).protocol for end in pair.ends} == {expected}  # type: ignore[union-attr]
        return
    refusal = pair.refused(INITIATOR).refusal
    assert pair.kinds() == [HELLO, REFUSAL]
    assert refusal.code == RefusalCode.VERSION
    # A stranger is told this one in words, too: both ranges.
    assert f"{peers[0]} to {peers[1]} where it was refused, {mine[0]} to {mine[1]} on the other side" in refusal.text
    assert refusal.detail == peers[0] << 16 | peers[1]


def test_an_initiator_refuses_an_acceptor_of_another_version_before_it_proves_anything() -> None:
    initiator = Handshake.initiator(ALICE, KEYS)
    initiator.start()
    effects = initiator.step(HELLO, dataclasses.replace(BOB, protocol_min=2, protocol_max=2).encode())
    assert [type(effect) for effect in effects] == [Send, Refused]
    assert effects[0][0] == REFUSAL


def test_unknown_optional_extensions_pass_and_required_ones_are_a_version_refusal() -> None:
    alice = dataclasses.replace(ALICE, extensions=((0, b"new"), (127, b""), (127, b"twice")))
    pair = Pair(alice).run()
    assert pair.established(ACCEPTOR) == Established(alice, 1, 0b0100, 0)
    assert pair.established(INITIATOR)
    pair = Pair(ALICE, dataclasses.replace(BOB, extensions=((128, b"needed"),))).run()
    assert pair.refused(INITIATOR).refusal.code == RefusalCode.VERSION
    assert "extension 128" in pair.refused(ACCEPTOR).refusal.text


# ---- refusals


@pytest.mark.parametrize("code", list(RefusalCode))
def test_every_refusal_by_the_acceptor_before_the_proof_tells_a_stranger_its_code_only(code: RefusalCode) -> None:
    refusal = Refusal(code, 77, "what a stranger should not know")
    pair = Pair(answer=refusal).run()
    assert pair.kinds() == [HELLO, REFUSAL]
    assert pair.refused(ACCEPTOR) == Refused(refusal, by_us=True)
    told = refusal if code == RefusalCode.VERSION else Refusal(code)
    assert pair.refused(INITIATOR) == Refused(told, by_us=False)


@pytest.mark.parametrize("code", list(RefusalCode))
def test_every_refusal_by_the_acceptors_check_is_told_in_full_instead_of_its_proof(code: RefusalCode) -> None:
    refusal = Refusal(code, 9, "because")
    pair = Pair(checks=(None, refuses(code, 9, "because"))).run()
    assert pair.kinds() == [HELLO, HELLO, PROOF, REFUSAL]
    assert pair.refused(ACCEPTOR) == Refused(refusal, by_us=True)
    assert pair.refused(INITIATOR) == Refused(refusal, by_us=False)


@pytest.mark.parametrize("code", list(RefusalCode))
def test_every_refusal_by_the_initiators_check_reaches_the_established_acceptor(code: RefusalCode) -> None:
    pair = Pair(checks=(refuses(code, 9, "because"), None)).run()
    assert pair.kinds() == [HELLO, HELLO, PROOF, PROOF, REFUSAL]
    assert pair.established(INITIATOR) is None
    assert pair.refused(ACCEPTOR) == Refused(Refusal(code, 9, "because"), by_us=False)


def test_a_node_that_dials_itself_is_told() -> None:
    pair = Pair(ALICE, dataclasses.replace(ALICE, nonce=b"z" * 32)).run()
    assert pair.refused(INITIATOR).refusal.code == RefusalCode.SELF


def test_an_earlier_life_is_somebody_else() -> None:
    assert Pair(ALICE, dataclasses.replace(ALICE, nonce=b"z" * 32, bits=1)).run().established(INITIATOR)


def test_tls_on_one_side_only_is_refused() -> None:
    pair = Pair(ALICE, dataclasses.replace(BOB, tls=True)).run()
    assert pair.refused(INITIATOR).refusal.code == RefusalCode.TLS
    assert Pair(dataclasses.replace(ALICE, tls=True), dataclasses.replace(BOB, tls=True)).run().established(INITIATOR)


def test_the_driver_ends_a_handshake_that_takes_too_long() -> None:
    silent = Handshake.acceptor(lambda _: BOB, KEYS)
    expired = Refusal(RefusalCode.EXPIRED, text="5 s")
    assert silent.refuse(expired) == [Refused(expired, by_us=True)]
    assert silent.refuse(expired) == []
    spoken = Handshake.acceptor(lambda _: BOB, KEYS)
    spoken.step(HELLO, ALICE.encode())
    assert spoken.refuse(expired) == [
        Send(REFUSAL, Refusal(RefusalCode.EXPIRED).encode()),
        Refused(expired, by_us=True),
    ]
    assert spoken.step(PROOF, bytes(32)) == []


def test_what_does_not_speak_the_protocol_gets_no_frame() -> None:
    acceptor = Handshake.acceptor(lambda _: BOB, KEYS)
    (refused,) = acceptor.step(DATA, b"hello?")
    assert isinstance(refused, Refused)
    assert refused.refusal.code == RefusalCode.MALFORMED
    assert "a frame of kind 1 while waiting for the initiator's hello" in refused.refusal.text


# ---- attacks


def sizes() -> list[int]:
    return [len(body) for _, _, body in Pair().run().frames]


@given(st.integers(0, 3), st.integers(0, 4000), st.integers(1, 255))
def test_no_changed_byte_ever_ends_in_established(target: int, position: int, change: int) -> None:
    def mutate(number: int, kind: int, body: bytes) -> tuple[int, bytes]:
        if number != target:
            return kind, body
        changed = bytearray(body)
        changed[position % len(body)] ^= change
        return kind, bytes(changed)

    pair = Pair().run(mutate)
    assert pair.established(INITIATOR) is None
    # Whatever is done to the last frame, the acceptor was done when it sent it.
    assert (pair.established(ACCEPTOR) is None) == (target < 3)


def test_no_byte_of_a_hello_can_be_changed() -> None:
    for target, size in enumerate(sizes()[:2]):
        for position in range(size):

            def mutate(
                number: int, kind: int, body: bytes, target: int = target, at: int = position
            ) -> tuple[int, bytes]:
                return kind, body if number != target else body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]

            pair = Pair().run(mutate)
            assert pair.established(INITIATOR) is None
            assert pair.established(ACCEPTOR) is None


@given(st.integers(0, 3), st.integers(0, 4000), st.binary(max_size=8))
def test_no_frame_cut_short_or_made_longer_ends_in_established(target: int, length: int, more: bytes) -> None:
    def cut(number: int, kind: int, body: bytes) -> tuple[int, bytes]:
        if number != target:
            return kind, body
        changed = body[: length % (len(body) + 1)] + more
        return kind, changed if changed != body else body[:-1]

    pair = Pair().run(cut)
    assert pair.established(INITIATOR) is None
    assert (pair.established(ACCEPTOR) is None) == (target < 3)


@given(st.integers(0, 3), st.integers(0, 255).filter(lambda kind: kind not in (HELLO, PROOF)))
def test_no_frame_of_another_kind_ends_in_established(target: int, other: int) -> None:
    pair = Pair().run(lambda number, kind, body: (other if number == target else kind, body))
    assert pair.established(INITIATOR) is None


@given(
    st.booleans(),
    st.lists(
        st.tuples(
            st.sampled_from(sorted(KINDS | {0, 200})),
            st.one_of(
                st.binary(max_size=300),
                st.just(ALICE.encode()),
                st.just(BOB.encode()),
                st.just(bytes(MAX_HANDSHAKE_BODY + 1)),
            ),
        ),
        max_size=5,
    ),
)
def test_random_frames_never_raise_and_never_prove_anything(initiates: bool, sent: list[tuple[int, bytes]]) -> None:
    end = Handshake.initiator(ALICE, KEYS) if initiates else Handshake.acceptor(lambda _: BOB, KEYS)
    effects = end.start()
    for kind, body in sent:
        effects += end.step(kind, body)
    assert not any(isinstance(effect, Established) for effect in effects)
    assert sum(isinstance(effect, Refused) for effect in effects) <= 1


@given(st.integers(0, len(ALICE.encode()) - 1))
def test_a_truncated_hello_is_malformed_and_told_so(length: int) -> None:
    acceptor = Handshake.acceptor(lambda _: BOB, KEYS)
    send, refused = acceptor.step(HELLO, ALICE.encode()[:length])
    assert isinstance(refused, Refused)
    assert refused.refusal.code == RefusalCode.MALFORMED
    assert send == Send(REFUSAL, Refusal(RefusalCode.MALFORMED).encode())


def test_a_recorded_handshake_cannot_be_played_back() -> None:
    recorded = Pair().run().frames
    acceptor = Handshake.acceptor(lambda _: dataclasses.replace(BOB, nonce=b"c" * 32), KEYS)
    acceptor.step(HELLO, recorded[0][2])
    effects = acceptor.step(PROOF, recorded[2][2])
    assert [type(effect) for effect in effects] == [Send, Refused]
    initiator = Handshake.initiator(dataclasses.replace(ALICE, nonce=b"d" * 32), KEYS)
    initiator.start()
    initiator.step(HELLO, recorded[1][2])
    effects = initiator.step(PROOF, recorded[3][2])
    assert not any(isinstance(effect, Established) for effect in effects)


def test_an_initiator_cannot_be_made_to_answer_itself() -> None:
    initiator = Handshake.initiator(ALICE, KEYS)
    (hello,) = initiator.start()
    assert isinstance(hello, Send)
    effects = initiator.step(*hello)
    assert effects[-1] == Refused(Refusal(RefusalCode.SELF, 0, "alice@h was connected to itself"), by_us=True)
    assert PROOF not in [effect.kind for effect in effects if isinstance(effect, Send)]


def test_a_node_that_is_dialled_and_dials_cannot_be_played_against_itself() -> None:
    """Somebody without the cookie passes what the node says as initiator to its own acceptor."""
    listening = dataclasses.replace(ALICE, nonce=b"l" * 32)
    dialling, dialled = Handshake.initiator(ALICE, KEYS), Handshake.acceptor(lambda _: listening, KEYS)
    (hello,) = dialling.start()
    assert isinstance(hello, Send)
    effects = dialled.step(*hello)
    assert isinstance(effects[-1], Refused)
    assert effects[-1].refusal.code == RefusalCode.SELF
    # Under a changed name, so that neither side sees itself, the proofs do not match.
    pair = Pair(ALICE, listening).run(
        lambda number, kind, body: (kind, body.replace(b"alice@h", b"eve__@h") if number < 2 else body)
    )
    assert pair.established(INITIATOR) is None
    assert pair.established(ACCEPTOR) is None


def test_one_echoed_nonce_is_enough_to_be_refused() -> None:
    pair = Pair(ALICE, dataclasses.replace(BOB, nonce=ALICE.nonce)).run()
    assert pair.refused(ACCEPTOR).refusal.code == RefusalCode.SELF


def test_every_transition_names_a_method() -> None:
    for expected in EXPECTED.values():
        assert expected.keys() <= {HELLO, PROOF, REFUSAL}
        assert all(callable(getattr(Handshake, method)) for method in expected.values())
    assert EXPECTED.keys() == set(State) - {State.ENDED}


def test_a_hello_too_large_for_a_frame_is_refused_where_it_is_given() -> None:
    over = dataclasses.replace(ALICE, addresses=("x" * MAX_HANDSHAKE_BODY,))
    with pytest.raises(ValueError, match="room for 4074"):
        Handshake.initiator(over, KEYS)


# ---- sessions


lives_and_sessions = st.builds(
    lambda bits, session, last_session, peer_bits: dataclasses.replace(
        ALICE, bits=bits, session=session, last_session=last_session, peer_bits=peer_bits
    ),
    *(st.integers(0, (1 << 63) - 1) | st.integers(0, 2) for _ in range(4)),
)


@given(lives_and_sessions, lives_and_sessions)
def test_both_sides_agree_on_the_session(one: Hello, other: Hello) -> None:
    number, resumed = agree_session(one, other)
    assert agree_session(other, one) == (number, resumed)
    if not resumed:
        assert number > max(one.session, one.last_session, other.session, other.last_session)
        # Whatever was agreed can be said in the next hello, or refused there, but never fails to be written.
        assert number < 1 << 64


@given(lives_and_sessions, lives_and_sessions, st.integers(1, 1 << 60))
def test_a_session_is_resumed_only_if_both_hold_it_with_this_life(one: Hello, other: Hello, number: int) -> None:
    one = dataclasses.replace(one, session=number, last_session=number, peer_bits=other.bits)
    other = dataclasses.replace(other, session=number, last_session=number, peer_bits=one.bits)
    assert agree_session(one, other) == agree_session(other, one) == (number, True)
    for changed in (
        dataclasses.replace(other, session=number + 1),
        dataclasses.replace(other, session=0),
        dataclasses.replace(other, bits=other.bits ^ 1),
        dataclasses.replace(other, peer_bits=one.bits ^ 1),
    ):
        assert agree_session(one, changed) == agree_session(changed, one)
        agreed, resumed = agree_session(one, changed)
        assert not resumed
        assert agreed > number


def test_two_lives_that_never_talked_start_with_session_one() -> None:
    alice, bob = dataclasses.replace(ALICE, last_session=0), dataclasses.replace(BOB, last_session=0)
    assert agree_session(alice, bob) == (1, False)
