"""A form that a browser sends: that it comes from one of our own pages, and what is in it.

Invariant: a form that another site made a browser send is refused before it is read.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from aiohttp import hdrs, web

from service.http.bodies import read_body
from service.http.problems import Refused
from service.http.slots import Held

FORM = "application/x-www-form-urlencoded"
FIELDS_MAX = 10
_OWN_SITES = frozenset({"same-origin", "none"})  # none: the person, and no site, asked for it


def check_same_origin(request: web.BaseRequest) -> None:
    """Raises Refused. Browsers say where a form comes from, by Sec-Fetch-Site (W3C Fetch Metadata)
    or, where the link is not encrypted, by Origin alone; what says neither is no browser."""
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get(hdrs.ORIGIN)
    if site is not None:
        is_ours = site in _OWN_SITES
    else:
        is_ours = origin is None or _host_of(origin) == request.headers.get(hdrs.HOST, "")
    if not is_ours:
        raise Refused("bad_request", "This form was sent from another site.")


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # no browser's
        return None


async def read_form(request: web.BaseRequest, held: Held) -> dict[str, str]:
    """By name, the last value of each field. Raises Refused."""
    if not request.can_read_body:
        return {}
    body = await read_body(request, (FORM,), held)
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise Refused("bad_request", "The form cannot be read.") from None
    return {name: values[-1] for name, values in fields.items()}
