// What the figures show: totals of a range, its charts, and what was marked in it.

import { get } from "./api.js";
import { Chart } from "./chart.js";
import { byId, el, put, table, tiles } from "./dom.js";
import { clock, count, duration, millis, money, percent, rate, short } from "./words.js";

const LENGTHS = { "1h": 3600, "24h": 86400 };

/** The sign of a mark on the time axis, and what it means. */
const EVENTS = {
  purge: ["P", "Purge"],
  reloaded: ["R", "Settings reloaded"],
  "reload-failed": ["F", "Reload failed: the old settings stay"],
  "store-lost": ["L", "Store lost"],
  "store-back": ["B", "Store back"],
  "writes-refused": ["W", "Store refuses writes"],
  "writes-back": ["B", "Store takes writes again"],
};

const charts = new Map();

const sum = (list) => list.reduce((all, value) => all + value, 0);

function chart(name) {
  if (!charts.has(name)) {
    charts.set(name, new Chart(name));
    byId("charts").append(charts.get(name).element);
  }
  return charts.get(name);
}

export const chosenRange = () => document.querySelector("input[name=range]:checked").value;

let shown;

export async function showCharts() {
  const range = chosenRange();
  const history = await get(`/history?range=${range}`);
  if (range !== chosenRange()) return;
  shown = history;
  totals(history);
  draw(history);
  marks(history);
}

/** After the window's size has changed. */
export function redraw() {
  if (shown) draw(shown);
}

function totals(history) {
  const of = (name) => sum(history[name]);
  const [hits, misses] = [of("hits"), of("misses")];
  const list = [
    ["Hit rate", percent(rate(hits, misses)), `${count(hits)} hits, ${count(misses)} misses`],
    ["Requests", count(of("requests")), `${count(of("failed"))} with a 5xx`],
    ["Time saved", duration(of("millis_saved") / 1000), "the service's time for what hits answered"],
    ["Tokens saved", short(of("tokens_saved")), `${short(of("tokens_spent"))} spent`],
  ];
  if (history.currency) {
    list.push(["Money saved", money(of("cost_saved"), history.currency), `${money(of("cost_spent"), history.currency)} spent`]);
  }
  tiles("totals", list);
}

function draw(history) {
  const to = history.until;
  const from = to - LENGTHS[history.range];
  const at = history.hits.map((_, number) => Math.min(to, history.start + (number + 0.5) * history.step));
  // The last bucket is not over yet.
  const lasted = at.map((_, number) => Math.max(1, Math.min(history.step, to - history.start - number * history.step)));
  const shared = { from, to, at, marks: history.marks.map(named) };
  const per = (name, seconds) => history[name].map((value, number) => (value * seconds) / lasted[number]);
  const wanted = [];
  const show = (name, more) => wanted.push([chart(name), { ...shared, top: 1, word: short, ...more }]);
  const rates = history.hits.map((hits, number) => rate(hits, history.misses[number]));
  show("Hit rate", { lines: [{ name: "hits by lookups", values: rates }], word: (share) => (share === null ? "–" : `${short(share * 100)} %`) });
  show("Requests a second", {
    lines: [["all", "requests"], ["hits", "hits"], ["misses", "misses"], ["5xx", "failed"]]
      .map(([name, member]) => ({ name, values: per(member, 1) })),
    filled: true,
  });
  show("Latency", {
    lines: [["hits p50", "hit_p50_ms"], ["misses p50", "miss_p50_ms"], ["hits p99", "hit_p99_ms"], ["misses p99", "miss_p99_ms"]]
      .map(([name, member]) => ({ name, values: history[member] })),
    logarithmic: true,
    word: millis,
  });
  show("Seconds saved a minute", { lines: [{ name: "saved", values: per("millis_saved", 0.06) }], filled: true });
  show("Tokens a minute", {
    lines: [["saved", "tokens_saved"], ["spent", "tokens_spent"]].map(([name, member]) => ({ name, values: per(member, 60) })),
  });
  if (history.currency) {
    show("Money an hour", {
      lines: [["saved", "cost_saved"], ["spent", "cost_spent"]].map(([name, member]) => ({ name, values: per(member, 3600) })),
      top: 1e-6,
    });
  }
  // All are on the page by now, so that each knows its width.
  wanted.forEach(([chart, data]) => chart.draw(data));
}

function named(mark) {
  const [sign, name] = EVENTS[mark.event] ?? ["?", mark.event];
  const cause = mark.cause ? ` by ${mark.cause}` : "";
  return { time: mark.time, sign, name: `${name}${cause === " by all" ? " of all entries" : cause}`, count: mark.count };
}

function marks(history) {
  if (history.marks.length === 0) {
    put("marks", el("p", { class: "hint" }, "No purge, no reload and no store trouble in this time."));
    return;
  }
  const recent = history.marks.map(named).reverse().slice(0, 12);
  put("marks", table("What happened, latest first; the signs are those in the charts", [
    { title: "Sign", cell: (mark) => mark.sign },
    { title: "Time", cell: (mark) => clock(mark.time, true) },
    { title: "What", cell: (mark) => mark.name },
    { title: "Times", number: true, cell: (mark) => count(mark.count) },
  ], recent));
}
