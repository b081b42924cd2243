"""The tests; `tests.servers` starts what they need."""
