"""Clusters of a thousand nodes over real TCP on one machine: joined, talked to, killed in part, healed, left idle.

`python -m benchmarks.scale hyparview --nodes 1000 --processes 4`; see `__main__`. Each OS process hosts its share of
the nodes (`worker`), and ends when the one that started it does.
"""
