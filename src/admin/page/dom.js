// Makes elements. Texts become text nodes and nothing else, so that no request can put markup on the page.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, listeners (`on`: {event: function}) and children, which are elements or texts. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for drawings. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  element.append(...children.flat().filter((child) => child !== undefined && child !== null).map((child) =>
    child instanceof Node ? child : document.createTextNode(String(child))));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Replaces what is in an element. */
export function put(id, ...children) {
  byId(id).replaceChildren(...children.flat().filter((child) => child !== undefined && child !== null));
}

/** Says a text in an element; an empty one hides it. */
export function say(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === "";
}

/** A text that says what to do where there is nothing to show. */
export const empty = (...parts) => el("p", { class: "dim" }, ...parts);

/** A table. `columns`: [{title, number, cell(row)}]; a cell is an element or a text. */
export function table(caption, columns, rows) {
  const kind = (column) => (column.number ? "number" : column.mono ? "mono key" : undefined);
  const head = columns.map((column) => el("th", { scope: "col", class: column.number ? "number" : undefined }, column.title));
  const body = rows.map((row) => el("tr", {}, columns.map((column) => el("td", { class: kind(column) }, column.cell(row)))));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body)));
}

/** A list of figures with their names: [name, value, remark]. */
export function tiles(id, list) {
  put(id, list.map(([name, value, remark]) => el("div", {},
    el("dt", {}, name), el("dd", {}, value), remark ? el("dd", { class: "small" }, remark) : null)));
}

/** Lines to paste, with a button that copies them. */
export function lines(text) {
  const button = el("button", { type: "button", on: { click: () => copy(text, button) } }, "Copy");
  return el("div", {}, el("pre", {}, text), button);
}

/** A key without its namespace, and with the beginning of its digest: enough to tell it from the others. */
export function brief(key) {
  const [kind, digest] = key.split(":").slice(-2);
  return `${kind}:${digest.slice(0, 12)}…`;
}

/** Asks before something is done: `title` is the question, `what` it is about, `then` what comes of it, `no` and `yes` the answers. */
export function confirmed({ title, what, then, no, yes }) {
  const texts = { title, what, then, no, yes };
  for (const [name, text] of Object.entries(texts)) say(`confirm-${name}`, text);
  const dialog = byId("confirm");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select the text and copy it";
  }
}
