"""What the package costs, beside what the substrate costs and what a peer costs: `python -m benchmarks`.

`catalogue` says what is measured, `local`, `remote`, `floors`, `socket_floors` and `pykka_peer` measure it, one
system each, `rounds` runs them in OS processes of their own, one after the other, and `report` shows what came out.
The package `paper` is a command of its own.
"""
