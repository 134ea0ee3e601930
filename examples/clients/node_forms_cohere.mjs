// Checks with the `cohere-ai` package that a chat answered as JSON streams as the same answer, and the other way.
//
//     npm install --no-save cohere-ai
//     node node_forms_cohere.mjs PATH/TO/sidecache
//
// Starts an upstream with canned answers and sidecache in front of it, both on free ports. Exits 1 on any difference.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { CohereClientV2 } from 'cohere-ai';

const SOURCE = { type: 'document', id: '42', document: { id: '42', snippet: 'Paris is "the" city.\u2028' } };
const TOOL = { type: 'tool', id: 'weather_1:0', tool_output: { celsius: '7.5' } };
const USAGE = { billed_units: { input_tokens: 25, output_tokens: 75 }, tokens: { input_tokens: 500, output_tokens: 80 } };

// Each case: the message, and the reason to stop.
const CASES = {
  text: [{ content: [{ type: 'text', text: 'Café "au" lait\n😀 '.repeat(700) }] }, 'COMPLETE'],
  citations: [
    {
      content: [{ type: 'thinking', thinking: 'Let me see.\n' }, { type: 'text', text: 'It is Paris.' }],
      citations: [
        { start: 0, end: 6, text: 'Let me', sources: [SOURCE], type: 'THINKING_CONTENT' },
        { start: 6, end: 11, text: 'Paris', sources: [SOURCE, TOOL], content_index: 1, type: 'TEXT_CONTENT' },
      ],
    },
    'COMPLETE',
  ],
  tools: [
    {
      tool_plan: 'I will ask.',
      tool_calls: [
        { id: 'weather_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Köln"}' } },
        { id: 'now_2', type: 'function', function: { name: 'now', arguments: '{}' } },
      ],
    },
    'TOOL_CALL',
  ],
};

function whole(name) {
  const [message, finish_reason] = CASES[name];
  return { id: `d93f187e-${name}`, message: { role: 'assistant', ...message }, finish_reason, usage: USAGE };
}

const pieces = (text) => text.match(/[\s\S]{1,7}/gu) ?? [];

// The answer as the API streams it, by its documentation.
function* events({ id, message, finish_reason, usage }) {
  const say = (type, name, part, index) => ({ type, index, delta: { message: { [name]: part } } });
  const empty = { role: 'assistant', content: [], tool_plan: '', tool_calls: [], citations: [] };
  yield { id, type: 'message-start', delta: { message: empty } };
  for (const piece of pieces(message.tool_plan ?? '')) yield say('tool-plan-delta', 'tool_plan', piece);
  const content = message.content ?? [];
  for (const [index, { type, ...said }] of content.entries()) {
    yield say('content-start', 'content', { type, [type]: '' }, index);
    for (const piece of pieces(said[type])) yield say('content-delta', 'content', { [type]: piece }, index);
    for (const [at, one] of index + 1 === content.length ? (message.citations ?? []).entries() : []) {
      yield say('citation-start', 'citations', one, at);
      yield { type: 'citation-end', index: at };
    }
    yield { type: 'content-end', index };
  }
  for (const [index, call] of (message.tool_calls ?? []).entries()) {
    yield say('tool-call-start', 'tool_calls', { ...call, function: { ...call.function, arguments: '' } }, index);
    for (const piece of pieces(call.function.arguments)) {
      yield say('tool-call-delta', 'tool_calls', { function: { arguments: piece } }, index);
    }
    yield { type: 'tool-call-end', index };
  }
  yield { type: 'message-end', delta: { finish_reason, usage } };
}

// What the client's own events say, put together as the documentation of each event has it.
async function together(stream) {
  const answer = { message: { role: 'assistant' } };
  const { message } = answer;
  for await (const event of stream) {
    const said = event.delta?.message;
    switch (event.type) {
      case 'message-start':
        answer.id = event.id;
        break;
      case 'content-start':
        (message.content ??= []).push({ ...said.content });
        break;
      case 'content-delta': {
        const block = message.content[event.index];
        block[block.type] = (block[block.type] ?? '') + (said.content[block.type] ?? '');
        break;
      }
      case 'tool-plan-delta':
        message.toolPlan = (message.toolPlan ?? '') + said.toolPlan;
        break;
      case 'tool-call-start':
        (message.toolCalls ??= []).push(structuredClone(said.toolCalls));
        break;
      case 'tool-call-delta':
        message.toolCalls[event.index].function.arguments += said.toolCalls.function.arguments;
        break;
      case 'citation-start':
        (message.citations ??= []).push(said.citations);
        break;
      case 'message-end':
        answer.finishReason = event.delta.finishReason;
        answer.usage = event.delta.usage;
    }
  }
  return answer;
}

async function freePort() {
  const socket = createSocket().listen(0, '127.0.0.1');
  await new Promise((done) => socket.once('listening', done));
  const { port } = socket.address();
  await new Promise((done) => socket.close(done));
  return port;
}

let calls = 0;
const upstream = createServer(async (request, response) => {
  let text = '';
  for await (const chunk of request) text += chunk;
  if (request.method !== 'POST') return response.end();
  calls += 1;
  const { messages, stream } = JSON.parse(text);
  const answer = whole(messages[0].content.split(',')[0]);
  response.setHeader('content-type', stream ? 'text/event-stream' : 'application/json');
  if (stream) for (const event of events(answer)) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  response.end(stream ? '' : JSON.stringify(answer));
});
upstream.listen(0, '127.0.0.1');
await new Promise((done) => upstream.once('listening', done));

const listen = `127.0.0.1:${await freePort()}`;
const proxied = `http://127.0.0.1:${upstream.address().port}`;
// The client says `Cache-Control: no-cache` with each stream, whatever its user wants.
const folder = mkdtempSync(join(tmpdir(), 'sidecache-'));
const config = join(folder, 'sidecache.toml');
const route = { match: 'POST /v2/chat', kind: 'query', dialect: 'cohere-chat', honor_request_cache_control: false };
const lines = Object.entries(route).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
writeFileSync(config, ['[[route]]', ...lines, ''].join('\n'));
const flags = ['--config', config, '--upstream', proxied, '--listen', listen, '--admin-listen', 'off'];
const sidecache = spawn(process.argv[2], flags, { stdio: 'ignore' });
for (let tries = 0; tries < 200; tries += 1) {
  if (await fetch(`http://${listen}/health/live`).then((answer) => answer.ok, () => false)) break;
  await new Promise((done) => setTimeout(done, 50));
}

const client = new CohereClientV2({ token: 'test', environment: `http://${listen}`, maxRetries: 0 });
const question = (name, order) => ({ model: 'command-a', messages: [{ role: 'user', content: `${name}, ${order}` }] });
// Without what is undefined, and without the classes of the client.
const plain = (value) => JSON.parse(JSON.stringify(value));

async function askJson(name, order) {
  const { data, rawResponse } = await client.chat(question(name, order)).withRawResponse();
  return [plain(data), rawResponse.headers.get('x-cache')];
}

async function askStream(name, order) {
  const { data, rawResponse } = await client.chatStream(question(name, order)).withRawResponse();
  return [plain(await together(data)), rawResponse.headers.get('x-cache')];
}

let failures = 0;
for (const name of Object.keys(CASES)) {
  for (const [order, asks] of Object.entries({
    'JSON then stream': [askJson, askStream],
    'stream then JSON': [askStream, askJson],
  })) {
    const [first, firstCache] = await asks[0](name, order);
    const [second, secondCache] = await asks[1](name, order);
    const same = isDeepStrictEqual(first, second);
    if (!same || firstCache !== 'MISS' || secondCache !== 'HIT') failures += 1;
    console.log(`cohere-ai  ${name.padEnd(10)} ${order}: ${firstCache} ${secondCache} ${same ? 'same' : 'DIFFERENT'}`);
    if (!same) console.error(JSON.stringify(first, null, 1), '\n---\n', JSON.stringify(second, null, 1));
  }
}
if (calls !== 2 * Object.keys(CASES).length) {
  console.error(`The upstream was asked ${calls} times, not ${2 * Object.keys(CASES).length}.`);
  failures += 1;
}
sidecache.kill();
rmSync(folder, { recursive: true });
upstream.close();
upstream.closeAllConnections();
process.exitCode = failures ? 1 : 0;
