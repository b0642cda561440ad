// What the answers say, without anything of the host: this is what the tests call.

/** `?name=` says whom. */
export function greeting(parameters) {
  return `Hello, ${parameters.get('name') || 'world'}, from JavaScript!\n`;
}

/** One line for each variable, in order. */
export function environment(variables) {
  return variables.map(([name, value]) => `${name}=${value}\n`).sort().join('');
}

/** Since 1970. */
export function seconds(millis) {
  return `${Math.floor(millis / 1000)}\n`;
}
