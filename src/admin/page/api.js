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

/**
 * Reads server-sent events until they end or `signal` aborts, and hands over each one's name and data, a text: thousands may
 * come in a second, of which few are shown. EventSource could not send the token.
 */
export async function events(path, signal, onEvent) {
  const response = await open(path, { headers: headers({ Accept: "text/event-stream" }), signal });
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (part.startsWith("data:")) onEvent("message", part.slice(5));
      const named = /^event: ?(.*)\ndata:(.*)$/.exec(part);
      if (named) onEvent(named[1], named[2]);
    }
  }
}

/** What a text says as JSON; nothing where it is none. */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
