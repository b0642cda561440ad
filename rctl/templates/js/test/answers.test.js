import assert from 'node:assert/strict';
import { test } from 'node:test';

import { environment, greeting, seconds } from '../src/answers.js';

test('the greeting names the language and whom it is told', () => {
  assert.equal(greeting(new URLSearchParams('')), 'Hello, world, from JavaScript!\n');
  assert.equal(greeting(new URLSearchParams('a=b&name=Ada')), 'Hello, Ada, from JavaScript!\n');
});

test('the environment is told in order', () => {
  assert.equal(environment([['B', '2'], ['A', '1']]), 'A=1\nB=2\n');
});

test('the time is in seconds', () => {
  assert.equal(seconds(1999), '1\n');
});
