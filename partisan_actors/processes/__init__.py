"""Erlang's process model on one node. Knows no network; what lies elsewhere it asks of a port."""
