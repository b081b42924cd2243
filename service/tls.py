"""Why a link that was to be encrypted did not come about, in words for an operator.

Invariant: no sentence names a host, a user or a file: callers of the API may be told it, too.
"""

from __future__ import annotations

import ssl

# OpenSSL's names of them. Source: its header x509_vfy.h.
_OTHER_HOST_CODES = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_EXPIRED_CODE = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_FILE_REASONS = {"NO_CERTIFICATE_OR_CRL_FOUND", "PEM_LIB", "NO_START_LINE", "KEY_VALUES_MISMATCH"}


def why_no_tls(error: ssl.SSLError, server: str) -> str:
    """`server` begins the sentence: whom we wanted to reach."""
    match error:
        case ssl.SSLCertVerificationError(verify_code=code) if code in _OTHER_HOST_CODES:
            return f"{server} shows a certificate for another host than the one that is set."
        case ssl.SSLCertVerificationError(verify_code=code) if code == _EXPIRED_CODE:
            return f"{server} shows a certificate that has expired."
        case ssl.SSLCertVerificationError():
            return f"{server} shows a certificate of a CA that is not trusted here."
        case _ if "ALERT" in str(error.reason):
            return f"{server} refuses our certificate, or that we have none."
        case _:
            return f"{server} does not speak TLS as we do, or not at this port."


def is_of_our_files(error: ssl.SSLError) -> bool:
    """Whether it is a certificate or key of ours that cannot be used; nobody was asked yet."""
    return error.reason in _FILE_REASONS
