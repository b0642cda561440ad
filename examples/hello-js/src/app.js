// An HTTP service: greets, echoes, and tells its environment and the time.
import { getEnvironment } from 'wasi:cli/environment@0.2.10';

import { environment, greeting, seconds } from './answers.js';
import { notAllowed, serve, text } from './http.js';

function answer(request) {
  console.error(`INFO ${request.method} ${request.path}`);
  switch (request.method) {
    // The host sends no body to HEAD.
    case 'GET':
    case 'HEAD':
      return page(request);
    case 'POST':
      return echo(request);
    default:
      return notAllowed('GET, HEAD, POST');
  }
}

function page(request) {
  switch (request.path) {
    case '/':
      return text(greeting(new URLSearchParams(request.query)));
    case '/env':
      return text(environment(getEnvironment()));
    case '/time':
      return text(seconds(Date.now()));
    default:
      return text('404 Not Found\n', 404);
  }
}

// The body goes back as it comes in, however long it is.
function echo(request) {
  const type = request.header('content-type');
  return { status: 200, headers: type ? { 'content-type': type } : {}, body: request.pieces() };
}

export const incomingHandler = serve(answer);
