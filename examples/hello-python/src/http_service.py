"""Requests and answers over wasi:http 0.2. The head of an answer is sent before its body is written, and a body goes
through in pieces: no more than one of them is ever in memory."""

import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports import streams, types

# What is asked for at once, and what `blocking-write-and-flush` takes at once.
READ_BYTES = 65536
WRITE_BYTES = 4096


class Request:
    """A request; its body is read once."""

    def __init__(self, incoming: types.IncomingRequest) -> None:
        self._incoming = incoming
        self.method = type(incoming.method()).__name__.removeprefix("Method_").upper()
        if self.method == "OTHER":
            self.method = incoming.method().value
        target = incoming.path_with_query() or "/"
        self.path, _, self.query = target.partition("?")

    def header(self, name: str) -> str | None:
        """The first of this name."""
        with self._incoming.headers() as fields:
            values = fields.get(name)
        return values[0].decode("latin-1") if values else None

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes in."""
        with self._incoming.consume() as body, body.stream() as stream:
            while True:
                try:
                    piece = stream.blocking_read(READ_BYTES)
                except Err as error:
                    # Only this is the end; anything else means that there should be more.
                    if isinstance(error.value, streams.StreamError_Closed):
                        return
                    raise
                if piece:
                    yield piece


@dataclass
class Response:
    """An answer, whose body is written piece by piece."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()

    @classmethod
    def text(cls, text: str, status: int = 200) -> "Response":
        """Plain text."""
        body = text.encode()
        return cls(status, {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body))}, [body])

    @classmethod
    def not_allowed(cls, methods: str) -> "Response":
        """To a method that is none of these."""
        response = cls.text("405 Method Not Allowed\n", 405)
        response.headers["allow"] = methods
        return response


class IncomingHandler(exports.IncomingHandler):
    """The export. A subclass says in `answer` what is answered."""

    def handle(self, request: types.IncomingRequest, response_out: types.ResponseOutparam) -> None:
        try:
            response = self.answer(Request(request))
        except Exception:
            traceback.print_exc(file=sys.stderr)
            response = Response.text("500 Internal Server Error\n", 500)
        respond(response, response_out)


def respond(response: Response, response_out: types.ResponseOutparam) -> None:
    entries = [(name, value.encode("latin-1")) for name, value in response.headers.items()]
    outgoing = types.OutgoingResponse(types.Fields.from_list(entries))
    outgoing.set_status_code(response.status)
    body = outgoing.body()
    types.ResponseOutparam.set(response_out, Ok(outgoing))
    with body.write() as stream:
        taken = write(response.body, stream)
    # The stream is gone by now, as the host wants it.
    if taken:
        types.OutgoingBody.finish(body, None)


def write(pieces: Iterable[bytes], stream: streams.OutputStream) -> bool:
    """Whether somebody took all of it: a client that went away is no fault of the service."""
    for piece in pieces:
        for at in range(0, len(piece), WRITE_BYTES):
            try:
                stream.blocking_write_and_flush(piece[at : at + WRITE_BYTES])
            except Err as error:
                if isinstance(error.value, streams.StreamError_Closed):
                    return False
                raise
    return True
