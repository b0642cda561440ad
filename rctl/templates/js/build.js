// Puts src/app.js and a JavaScript engine into one component: out/service.wasm.
import { mkdir, writeFile } from 'node:fs/promises';

import { componentize } from '@bytecodealliance/componentize-js';

const { component } = await componentize({
  sourcePath: 'src/app.js',
  witPath: 'wit',
  worldName: 'service',
  // src/http.js is the handler, so that bodies stream and log lines come at once.
  disableFeatures: ['fetch-event'],
});
await mkdir('out', { recursive: true });
await writeFile('out/service.wasm', component);
