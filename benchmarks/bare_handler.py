"""What every figure is compared with: an aiohttp handler that validates a body, and does no more.

Invariant: it is as quick as such a handler gets (uvloop, no access log, bytes straight to pydantic,
a fixed answer), and its model is the very one of `POST /user`.
"""

from __future__ import annotations

import sys

import uvloop
from aiohttp import web
from pydantic import ValidationError

from service.http.models import CustomerBody

_CREATED = b'{"status":"created"}'
_REFUSED = b'{"status":"refused"}'
_validate = CustomerBody.__pydantic_validator__.validate_json


async def create(request: web.Request) -> web.Response:
    try:
        _validate(await request.read())
    except ValidationError:
        return web.Response(body=_REFUSED, status=422, content_type="application/json")
    return web.Response(body=_CREATED, status=201, content_type="application/json")


def build_app() -> web.Application:
    app = web.Application()
    app.router.add_post("/user", create)
    return app


def main() -> None:
    web.run_app(
        build_app(),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
