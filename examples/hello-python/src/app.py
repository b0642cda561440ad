"""An HTTP service: greets, echoes, and tells its environment and the time."""

import sys
import time

import http_service
from answers import environment, greeting, seconds
from http_service import Request, Response
from wit_world.imports.environment import get_environment


def answer(request: Request) -> Response:
    print(f"INFO {request.method} {request.path}", file=sys.stderr, flush=True)
    match request.method:
        case "GET" | "HEAD":
            # The host sends no body to HEAD.
            return page(request)
        case "POST":
            # The body goes back as it comes in, however long it is.
            media_type = request.header("content-type")
            return Response(200, {"content-type": media_type} if media_type else {}, request.pieces())
        case _:
            return Response.not_allowed("GET, HEAD, POST")


def page(request: Request) -> Response:
    match request.path:
        case "/":
            return Response.text(greeting(request.query))
        case "/env":
            return Response.text(environment(get_environment()))
        case "/time":
            return Response.text(seconds(time.time()))
        case _:
            return Response.text("404 Not Found\n", 404)


class IncomingHandler(http_service.IncomingHandler):
    """The component's export."""

    answer = staticmethod(answer)
