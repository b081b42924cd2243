"""Where the tests' PostgreSQL and Kafka come from.

For each, in this order: an address given in the environment, Docker where a daemon answers, local
parts. Nothing here is a fake: the stand-in broker says that it is one.
"""
