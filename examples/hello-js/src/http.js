// Requests and answers over wasi:http 0.2. The head of an answer is sent before its body is written, and a body goes
// through in pieces: no more than one of them is ever in memory.
import { Fields, OutgoingBody, OutgoingResponse, ResponseOutparam } from 'wasi:http/types@0.2.10';

// What `blocking-write-and-flush` takes at once.
const PIECE_BYTES = 4096;

/**
 * The component's export: `export const incomingHandler = serve(answer)`.
 *
 * `answer` gets a request { method, path, query, header(name), pieces() } and gives { status, headers, body }, whose body
 * is a text, bytes, or an iterable of bytes.
 */
export function serve(answer) {
  return {
    handle(incoming, out) {
      const request = read(incoming);
      let response;
      try {
        response = answer(request);
      } catch (error) {
        console.error(`ERROR ${error}`);
        response = { status: 500, headers: {}, body: '500 Internal Server Error\n' };
      }
      respond(response, out);
    },
  };
}

/** Plain text. */
export function text(body, status = 200) {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body };
}

/** To a method that is none of these. */
export function notAllowed(methods) {
  const { status, headers, body } = text('405 Method Not Allowed\n', 405);
  return { status, headers: { ...headers, allow: methods }, body };
}

function read(incoming) {
  const [path, query = ''] = (incoming.pathWithQuery() ?? '/').split(/\?(.*)/s);
  const headers = incoming.headers();
  return {
    method: incoming.method().val ?? incoming.method().tag.toUpperCase(),
    path,
    query,
    header(name) {
      const [value] = headers.get(name);
      return value && new TextDecoder().decode(value);
    },
    pieces: () => pieces(incoming.consume()),
  };
}

function* pieces(body) {
  const stream = body.stream();
  for (;;) {
    let piece;
    try {
      piece = stream.blockingRead(65536n);
    } catch (error) {
      // Only this is the end; anything else means that there should be more.
      if (error.payload?.tag === 'closed') {
        return;
      }
      throw error;
    }
    if (piece.length > 0) {
      yield piece;
    }
  }
}

function respond({ status, headers, body }, out) {
  const whole = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  const length = whole instanceof Uint8Array ? { 'content-length': String(whole.length) } : {};
  const entries = Object.entries({ ...headers, ...length }).map(([name, value]) => [name, new TextEncoder().encode(value)]);
  const response = new OutgoingResponse(Fields.fromList(entries));
  response.setStatusCode(status);
  const outgoing = response.body();
  ResponseOutparam.set(out, { tag: 'ok', val: response });
  const stream = outgoing.write();
  const taken = write(whole instanceof Uint8Array ? [whole] : whole, stream);
  // The host wants the stream gone before the body ends.
  stream[Symbol.dispose]();
  if (taken) {
    OutgoingBody.finish(outgoing, undefined);
  }
}

// Whether somebody took all of it: a client that went away is no fault of the service.
function write(pieces, stream) {
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; at += PIECE_BYTES) {
      try {
        stream.blockingWriteAndFlush(piece.subarray(at, at + PIECE_BYTES));
      } catch (error) {
        if (error.payload?.tag === 'closed') {
          return false;
        }
        throw error;
      }
    }
  }
  return true;
}
