// Asks one question three times with the `openai` package: as JSON, as JSON again, and as a stream.
//
//     node node_openai.mjs [BASE_URL]      # default: http://127.0.0.1:8080/v1, which is sidecache
//
// All three must give the same text, and all but the first must be answered from the cache: a question that was
// answered as JSON also answers the same question as a stream. Exits 1 if one of this is not so.

import OpenAI from "openai";

const baseURL = process.argv[2] ?? "http://127.0.0.1:8080/v1";
// The example service wants no key, but the package does.
const client = new OpenAI({ baseURL, apiKey: process.env.OPENAI_API_KEY ?? "none" });

const question = {
  model: "extractive-bm25",
  messages: [{ role: "user", content: "What happens when Redis is down?" }],
};

// withResponse() gives the headers along with what the plain call would have returned.
async function askJson() {
  const { data, response } = await client.chat.completions.create(question).withResponse();
  return { text: data.choices[0].message.content ?? "", xCache: response.headers.get("x-cache") };
}

async function askStream() {
  const { data, response } = await client.chat.completions.create({ ...question, stream: true }).withResponse();
  let text = "";
  for await (const chunk of data) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  return { text, xCache: response.headers.get("x-cache") };
}

const answers = [
  { how: "JSON", ...(await askJson()) },
  { how: "JSON again", ...(await askJson()) },
  { how: "stream", ...(await askStream()) },
];
for (const { how, text, xCache } of answers) {
  console.log(`${how.padEnd(10)}  x-cache: ${xCache}  ${text.slice(0, 60)}…`);
}

if (answers.some(({ text }) => text === "" || text !== answers[0].text)) {
  console.error("The texts differ, or are empty.");
  process.exitCode = 1;
} else if (answers.slice(1).some(({ xCache }) => xCache !== "HIT")) {
  console.error("The repeated question was no HIT. Is this base URL sidecache's?");
  process.exitCode = 1;
}
