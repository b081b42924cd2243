"""Writing the log, in groups: what waits, what is sent, what became of it.

Invariant: nobody else appends but the intake of orders, under the same lock.
"""

from service.appender.appender import Appender

__all__ = ["Appender"]
