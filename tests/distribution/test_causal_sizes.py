"""How large stamps and logs are, at 8 members and at 128, and that they do not grow with time."""

from __future__ import annotations

from random import Random

import msgpack
import pytest

from tests.distribution.causal_world import World


def _stamps(world, rounds, fan_out, seed):
    """Random sends, a delivery or two for each; the packed size of every stamp."""
    random, size, sizes = Random(seed), len(world.names), []
    for _ in range(rounds):
        sender = random.randrange(size)
        receivers = range(size) if fan_out is None else random.sample(range(size), fan_out)
        world.send(sender, *receivers)
        for (origin, _), link in world.links.items():
            if origin == sender and link:
                sizes.append(len(msgpack.packb(link[-1].item)))
        busy = [ends for ends, link in world.links.items() if link]
        for sender, receiver in random.sample(busy, min(len(busy), 2 * len(receivers))):
            world.arrive(sender, receiver)
    return sizes


# Bytes seen, mean and largest: 8 members 120 and 230, 128 members to one 2,260 and 3,560, to all 300 and 3,370. The
# bound is 380,000 at 128 members.
@pytest.mark.parametrize(
    ("size", "rounds", "fan_out", "mean", "largest"),
    [(8, 600, 1, 250, 400), (8, 300, None, 250, 400), (128, 1_500, 1, 5_000, 8_000), (128, 60, None, 2_500, 6_000)],
)
def test_stamps_are_far_from_their_bound(size, rounds, fan_out, mean, largest):
    world = World(size)
    sizes = _stamps(world, rounds, fan_out, size)
    print(f"{size} members, to {fan_out or 'all'}: mean {sum(sizes) / len(sizes):.0f}, largest {max(sizes)}")
    assert sum(sizes) / len(sizes) < mean
    assert max(sizes) < largest
    world.quiet()
