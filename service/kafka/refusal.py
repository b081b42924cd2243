"""Why a broker does not let us in, in words; the client only tells its own log.

Invariant: no sentence names a host, a user or a password. A link that merely broke has no sentence
here: what cannot be told apart is not guessed at.
"""

from __future__ import annotations

import ssl
from asyncio import IncompleteReadError

from aiokafka.errors import (
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from service.tls import why_no_tls


def why_refused(error: BaseException) -> str | None:
    """What it was that ended a connection before it was one; None where nobody can tell."""
    match error:
        case SaslAuthenticationFailed():
            return "Kafka does not accept the user or the password of SASL."
        case UnsupportedSaslMechanismError():
            return "Kafka does not offer the mechanism in CUSTOMERS_KAFKA_SASL_MECHANISM here."
        case IllegalSaslStateError():
            return "Kafka asks for no SASL at this port: see CUSTOMERS_KAFKA_SECURITY_PROTOCOL."
        case ssl.SSLError():
            return why_no_tls(error, "Kafka")
        case IncompleteReadError() | ConnectionResetError():
            return (
                "Kafka ended the link at once: it stops, or speaks something else at this port than"
                " CUSTOMERS_KAFKA_SECURITY_PROTOCOL says."
            )
        case BaseException(__cause__=BaseException() as cause):
            return why_refused(cause)
        case _:
            return None
