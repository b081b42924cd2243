"""Chaos: the whole system under load while everything is killed, stopped, paused and wiped.

`python -m tests.chaos` runs it, `make chaos` too, and a short run is among the tests. Whatever is
judged at the end is judged from outside: from what writers were answered, what the shop has sent,
what subscribers have read with another client library, and the rows of the log as they lie.
"""
