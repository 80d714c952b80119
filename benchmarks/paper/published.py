"""What the paper's authors measured, for comparison: read off the plots of their January 2019 draft.

Not the camera-ready values, and another machine's. A latency there is from the sender to the receiver; a vnode of the
key-value store sleeps 10 ms for each request, as if it read from a disk, which alone keeps those below 120 requests/s.
"""

from __future__ import annotations

__all__ = ["ACTORS", "LATENCY_HEADLINE", "THROUGHPUT_HEADLINE", "published"]

THROUGHPUT_HEADLINE = 38.07
LATENCY_HEADLINE = 13.5

ACTORS = (16, 32, 64, 128)

_DISTERL = "disterl"
_BEST = "Partisan"
_ONE = "Partisan, 1 connection"
_KIB, _MIB = 1 << 10, 1 << 20

# By figure and size: the values at each number of actors, milliseconds in figures 1 to 4, else requests per second.
_VALUES: dict[tuple[int, int], dict[str, tuple[float, ...]]] = {
    (1, 512 * _KIB): {
        _DISTERL: (2.11, 4.09, 8.47, 16.45),
        _ONE: (3.09, 7.09, 14.59, 30.66),
        _BEST: (1.62, 2.09, 3.60, 7.93),
    },
    (3, 512 * _KIB): {
        _DISTERL: (47.0, 72.0, 131.0, 247.5),
        _ONE: (49.8, 109.7, 222.0, 454.1),
        _BEST: (10.6, 30.1, 16.0, 17.6),
    },
    (4, 8 * _MIB): {
        _DISTERL: (63.8, 120.7, 236.9, 472.3),
        _ONE: (86.1, 172.8, 348.4, 704.5),
        _BEST: (14.1, 24.7, 55.1, 122.0),
    },
    (5, 512 * _KIB): {_DISTERL: (353, 340, 320, 308), _BEST: (332, 331, 310, 311)},
    (5, 8 * _MIB): {_DISTERL: (56.1, 56.2, 57.0, 57.9), _BEST: (182, 184, 178, 180)},
    (6, 512 * _KIB): {_DISTERL: (46.1, 44.5, 45.9, 44.6), _BEST: (332, 311, 314, 322)},
    (6, 8 * _MIB): {_DISTERL: (3.0, 3.3, 3.7, 5.1), _BEST: (187, 180, 179, 175)},
    (7, 512 * _KIB): {_DISTERL: (117, 117, 121, 108), _BEST: (117, 114, 114, 104)},
    (7, 8 * _MIB): {_DISTERL: (87, 87, 79, 63), _BEST: (102, 101, 99, 94)},
    (8, 512 * _KIB): {_DISTERL: (105, 100, 87, 62), _BEST: (115, 117, 111, 111)},
    (8, 8 * _MIB): {_DISTERL: (4.7, 0.9, 0.05, 0.04), _BEST: (99, 100, 98, 96)},
}


def published(figure: int, size: int) -> dict[str, tuple[float, ...]]:
    """By system, a value for each of `ACTORS`; empty where the draft has none."""
    return _VALUES.get((figure, size), {})
