// Checks with the `@google/genai` package that an answer given as JSON streams as the same answer, and the other way.
//
//     npm install --no-save @google/genai
//     node node_forms_gemini.mjs PATH/TO/sidecache
//
// Starts an upstream with canned answers and sidecache in front of it, both on free ports. Exits 1 on any difference.

import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { isDeepStrictEqual } from "node:util";

import { GoogleGenAI } from "@google/genai";

const SIGNATURE = Buffer.from("a thought").toString("base64");
const GROUNDING = {
  webSearchQueries: ["Paris"],
  groundingChunks: [{ web: { uri: "https://example.com/", title: "Example" } }],
  groundingSupports: [{ segment: { endIndex: 5, text: "Paris" }, groundingChunkIndices: [0] }],
};

// Each case: the parts of the answer, and what its candidate has besides.
const CASES = {
  text: [[{ text: 'Café "au" lait\n\u0085\u2028😀 '.repeat(700) }], { avgLogprobs: -0.25 }],
  thoughts: [[{ text: "It is asked for.\n".repeat(9), thought: true }, { text: "Here.", thoughtSignature: SIGNATURE }], {}],
  tools: [
    [
      { text: "Let me look." },
      { functionCall: { id: "c1", name: "weather", args: { city: "Köln", days: [1, 2.5] } }, thoughtSignature: SIGNATURE },
      { executableCode: { language: "PYTHON", code: "print(1)\n" } },
      { codeExecutionResult: { outcome: "OUTCOME_OK", output: "1\n" } },
      { text: "It is 1." },
    ],
    {},
  ],
  sources: [
    [{ text: "Paris is it." }],
    { groundingMetadata: GROUNDING, citationMetadata: { citations: [{ startIndex: 0, uri: "https://example.com/" }] } },
  ],
};

function answer(name) {
  const [parts, besides] = CASES[name];
  return {
    candidates: [{ content: { parts, role: "model" }, finishReason: "STOP", index: 0, ...besides }],
    usageMetadata: { promptTokenCount: 25, candidatesTokenCount: 75, thoughtsTokenCount: 9, totalTokenCount: 109 },
    modelVersion: "gemini-test",
    responseId: `r-${name}`,
  };
}

const isText = (part) => Object.keys(part).every((name) => name === "text" || name === "thought");

function* told(parts) {
  for (const part of parts) {
    const letters = isText(part) ? [...part.text] : [];
    for (let at = 0; at < letters.length; at += 7) yield { ...part, text: letters.slice(at, at + 7).join("") };
    if (!letters.length) yield part;
  }
}

function chunks(whole) {
  const [candidate] = whole.candidates;
  const parts = [...told(candidate.content.parts)];
  return parts.map((part, number) => {
    const content = { parts: [part], role: "model" };
    const last = number === parts.length - 1;
    const usageMetadata = last ? whole.usageMetadata : { promptTokenCount: 25, totalTokenCount: 25 + number };
    return { ...whole, candidates: [last ? { ...candidate, content } : { content, index: 0 }], usageMetadata };
  });
}

let calls = 0;

async function reply(request, response) {
  let text = "";
  for await (const piece of request) text += piece;
  if (request.method === "GET") return response.end();
  calls += 1;
  const whole = answer(JSON.parse(text).contents[0].parts[0].text.split(",")[0]);
  if (!request.url.includes(":streamGenerateContent")) {
    response.setHeader("content-type", "application/json; charset=UTF-8");
    return response.end(JSON.stringify(whole));
  }
  response.setHeader("content-type", "text/event-stream");
  for (const chunk of chunks(whole)) response.write(`data: ${JSON.stringify(chunk)}\r\n\r\n`);
  return response.end();
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** The answer without what tells of its transport, and its `x-cache` header. */
function said({ sdkHttpResponse, ...rest }) {
  return [JSON.parse(JSON.stringify(rest)), new Headers(sdkHttpResponse.headers).get("x-cache")];
}

/** What the chunks of a stream say together; a document is a stream of one chunk. */
function together(answers) {
  const whole = { parts: [], candidate: {} };
  for (const { candidates, ...rest } of answers) {
    const { content, ...candidate } = candidates?.[0] ?? {};
    for (const part of content?.parts ?? []) {
      const last = whole.parts.at(-1);
      if (last && isText(part) && isText(last) && part.thought === last.thought) last.text += part.text;
      else whole.parts.push({ ...part });
    }
    Object.assign(whole.candidate, candidate);
    Object.assign(whole, rest);
  }
  return whole;
}

async function askJson(client, contents) {
  const [response, cache] = said(await client.models.generateContent({ model: "gemini-test", contents }));
  return [together([response]), cache];
}

async function askStream(client, contents) {
  const answers = [];
  for await (const chunk of await client.models.generateContentStream({ model: "gemini-test", contents })) {
    answers.push(said(chunk));
  }
  return [together(answers.map(([chunk]) => chunk)), answers[0][1]];
}

const upstream = http.createServer((request, response) => void reply(request, response)).listen(0, "127.0.0.1");
await once(upstream, "listening");
const listen = `127.0.0.1:${await freePort()}`;
const url = `http://127.0.0.1:${upstream.address().port}`;
const sidecache = spawn(process.argv[2], ["--upstream", url, "--listen", listen, "--admin-listen", "off"], { stdio: "ignore" });
let failures = 0;
try {
  for (let tries = 0; tries < 200; tries += 1) {
    const alive = await fetch(`http://${listen}/health/live`).catch(() => undefined);
    if (alive?.ok) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const client = new GoogleGenAI({ apiKey: "test", httpOptions: { baseUrl: `http://${listen}` } });
  for (const name of Object.keys(CASES)) {
    const orders = { "JSON then stream": [askJson, askStream], "stream then JSON": [askStream, askJson] };
    for (const [order, asks] of Object.entries(orders)) {
      const answers = [];
      for (const ask of asks) answers.push(await ask(client, `${name}, ${order}`));
      const [[first, firstCache], [second, secondCache]] = answers;
      const same = isDeepStrictEqual(first, second);
      const fine = same && firstCache === "MISS" && secondCache === "HIT";
      failures += fine ? 0 : 1;
      console.log(`gemini     ${name.padEnd(10)} ${order}: ${firstCache} ${secondCache} ${same ? "same" : "DIFFERENT"}`);
      if (!same) console.error(JSON.stringify(first, null, 1), "\n---\n", JSON.stringify(second, null, 1));
    }
  }
  const expected = 2 * Object.keys(CASES).length;
  if (calls !== expected) {
    console.error(`The upstream was asked ${calls} times, not ${expected}.`);
    failures += 1;
  }
} finally {
  sidecache.kill();
  upstream.close();
  upstream.closeAllConnections();
}
process.exitCode = failures ? 1 : 0;
