// Shows the parts, and shows them again while somebody looks.

import { askForToken, get, useToken } from "./api.js";
import { redraw, showCharts } from "./charts.js";
import { byId, say } from "./dom.js";
import { preparePurge, showEntries } from "./entries.js";
import { prepareLive } from "./live.js";
import { showOverview } from "./overview.js";
import { showSuggestions } from "./suggest.js";

/** How often each part is shown again, in milliseconds. Entries are looked at when somebody asks: that may be a scan. */
const OFTEN = 5000;
const RARELY = 60000;

let asksForToken = false;

/** Runs one part; what it cannot do is said at the top. */
async function part(show) {
  if (asksForToken) return;
  try {
    await show();
  } catch (error) {
    if (error.status === 401) return;
    byId("state").className = "badge bad";
    say("state", "✗ trouble");
    byId("problem").className = "note bad";
    say("problem", error.message);
  }
}

/** Runs a part now and then again and again, each time after it has ended, while the page is looked at. */
async function repeat(show, pause) {
  if (!document.hidden) await part(show);
  setTimeout(() => repeat(show, pause), pause);
}

function login(why) {
  asksForToken = true;
  byId("parts").hidden = true;
  byId("login").hidden = false;
  if (why !== "") say("login-why", why);
  byId("state").className = "badge";
  say("state", "needs the token");
  byId("login-form").token.focus();
}

async function tryToken(event) {
  event.preventDefault();
  const form = byId("login-form");
  useToken(form.token.value.trim());
  form.token.value = "";
  try {
    await get("/history?range=1h");
  } catch (error) {
    if (error.status !== 401) say("login-why", error.message);
    return;
  }
  asksForToken = false;
  byId("login").hidden = true;
  byId("parts").hidden = false;
  all();
}

const all = () => Promise.all([showOverview, showCharts, showEntries, showSuggestions].map(part));

askForToken(login);
byId("login-form").addEventListener("submit", tryToken);
byId("entries-again").addEventListener("click", () => part(showEntries));
for (const input of document.querySelectorAll("input[name=range]")) input.addEventListener("change", () => part(showCharts));
preparePurge(all);
prepareLive();
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(redraw, 150);
});
repeat(showOverview, OFTEN);
repeat(showCharts, OFTEN);
repeat(showSuggestions, RARELY);
part(showEntries);
