"""PostgreSQL 18 and a Kafka-protocol broker as children of ours, for `customers up` and the tests.

Only where no address is set; they need the extra `embedded`. For composition roots.
"""

from service.embedded.broker import EmbeddedBroker
from service.embedded.errors import EmbeddedError
from service.embedded.postgres import EmbeddedPostgres

__all__ = ["EmbeddedBroker", "EmbeddedError", "EmbeddedPostgres"]
