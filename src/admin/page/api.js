// Calls of the admin listener. The token, where there is one, is kept for this tab and sent with each call.

const KEPT = "sidecache-token";

export class CallFailed extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Called when a call was refused for its token; the text says why. */
let onRefused = () => {};

export function askForToken(listener) {
  onRefused = listener;
}

export function useToken(token) {
  sessionStorage.setItem(KEPT, token);
}

const keptToken = () => sessionStorage.getItem(KEPT);

function headers(more = {}) {
  const token = keptToken();
  return token === null ? more : { ...more, Authorization: `Bearer ${token}` };
}

async function open(path, options) {
  const token = keptToken();
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "omit", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new CallFailed(0, "sidecache does not answer. Does it run?");
  }
  if (response.ok) return response;
  const known = await response.json().catch(() => ({}));
  if (response.status === 401) {
    // The answer to a call without the token may come after somebody gave it.
    if (token === keptToken()) {
      sessionStorage.removeItem(KEPT);
      onRefused(token === null ? "" : "That token was refused.");
    }
  }
  throw new CallFailed(response.status, known.error ?? `${path}: ${response.status}`);
}

export const get = async (path) => (await open(path, { headers: headers() })).json();

/** A call that changes something. */
export async function change(method, path, body) {
  const options = { method, headers: headers({ "Content-Type": "application/json" }) };
  if (body !== undefined) options.body = JSON.stringify(body);
  return (await open(path, options)).json();
}

/** Reads server-sent events until they end or `signal` aborts. EventSource could not send the token. */
export async function events(path, signal, onEvent) {
  const response = await open(path, { headers: headers({ Accept: "text/event-stream" }), signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const event = parse(part);
      if (event) onEvent(event.name, event.data);
    }
  }
}

function parse(text) {
  let name = "message";
  const data = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  if (data.length === 0) return null;
  try {
    return { name, data: JSON.parse(data.join("\n")) };
  } catch {
    return null;
  }
}
