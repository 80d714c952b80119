"""The published experiments on overlays, as pure functions over the machines: no sockets, no waiting."""
