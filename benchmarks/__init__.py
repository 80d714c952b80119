"""What the package costs, beside what the substrate costs and what a peer costs: `python -m benchmarks`.

`catalogue` says what is measured, `local`, `remote`, `floors`, `socket_floors` and `pykka_peer` measure it, one
system each, `rounds` runs them in OS processes of their own, one after the other, and `report` shows what came out.
`distribution` is a command of its own, for two nodes beside Erlang's and the Python peers' (`pair`, `systems`, `peers`,
`comparison`, and `bench_partisan_actors`, which the peers' harness runs); so is the package `paper`.
"""
