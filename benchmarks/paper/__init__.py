"""Figures 1 to 8 of the Partisan paper (USENIX ATC 2019), with ours and real Erlang: `python -m benchmarks.paper`.

`catalogue` says what each figure compares, `published` what the paper's draft has there. `ours` and `workloads`
measure ours, `erlang` and `paper.erl` Erlang's distribution; each in two OS processes, started anew for every series
of cells by `rounds`. `records` is what comes out, `summary` what is made of it, `tables` and `plots` show it.
"""
