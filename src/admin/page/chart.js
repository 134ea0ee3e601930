// Draws one chart: lines over time with a grid, marks, and a cursor that tells values. Lines differ by their dashes too.

import { el, svg } from "./dom.js";
import { clock } from "./words.js";

const HEIGHT = 190;
const LEFT = 52;
const RIGHT = 10;
const TOP = 18;
const BOTTOM = 22;

/** Round numbers for an axis that reaches to `top`. */
function ticks(top) {
  const rough = top / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  return Array.from({ length: Math.ceil(top / step - 1e-9) + 1 }, (_, at) => at * step);
}

/** Powers of ten around the values. */
function powers(values) {
  const logs = values.filter((value) => value > 0).map(Math.log10);
  const low = Math.min(...logs, 0);
  const high = Math.max(...logs, 1);
  const first = Math.floor(low);
  return Array.from({ length: Math.max(1, Math.ceil(high) - first) + 1 }, (_, at) => 10 ** (first + at));
}

/** Where a value is between the lowest and the highest tick, from 0 to 1. */
function scale(axis, logarithmic) {
  const [low, high] = [axis[0], axis[axis.length - 1]];
  if (!logarithmic) return (value) => (value - low) / (high - low);
  return (value) => (Math.log10(Math.max(value, low)) - Math.log10(low)) / (Math.log10(high) - Math.log10(low));
}

/** Whole minutes or hours between two times, so many at most. */
function times(from, to, most) {
  const step = [300, 600, 900, 1800, 3600, 7200, 14400, 21600].find((step) => (to - from) / step <= most) ?? 43200;
  const offset = new Date(to * 1000).getTimezoneOffset() * 60;
  const first = Math.ceil((from - offset) / step) * step + offset;
  return Array.from({ length: Math.max(0, Math.floor((to - first) / step) + 1) }, (_, at) => first + at * step);
}

/** The line through points, with a gap where there is no value, and the points that are alone between gaps. */
function paths(points) {
  let line = "";
  let dots = "";
  points.forEach(([x, y], at) => {
    if (y === null) return;
    const place = `${x.toFixed(1)} ${y.toFixed(1)}`;
    const [before, after] = [points[at - 1]?.[1] ?? null, points[at + 1]?.[1] ?? null];
    line += `${before === null ? "M" : "L"}${place}`;
    if (before === null && after === null) dots += `M${place}h.1`;
  });
  return [line, dots];
}

/**
 * A chart. `lines`: [{name, values}] with a value or null for each of `at` (Unix seconds); `from` and `to` are the ends
 * of its time axis; `top` the least height of its value axis; `word(value)` says a value; `marks`: [{time, sign, name}].
 */
export class Chart {
  constructor(title) {
    this.plot = el("div", {
      class: "plot", tabindex: 0, role: "group", "aria-label": `${title}: arrow keys show values`,
      on: {
        pointermove: (event) => this.point(event),
        pointerleave: () => this.select(null),
        keydown: (event) => this.key(event),
        blur: () => this.select(null),
      },
    });
    this.readout = el("p", { class: "readout", "aria-live": "polite" });
    this.legend = el("ul", { class: "legend" });
    this.element = el("figure", {}, el("figcaption", {}, title), this.legend, this.plot, this.readout);
    this.title = title;
    this.selected = null;
  }

  draw(data) {
    this.data = data;
    this.width = Math.max(280, Math.round(this.plot.clientWidth || 480));
    const values = data.lines.flatMap((line) => line.values).filter((value) => value !== null);
    const axis = data.logarithmic ? powers(values) : ticks(Math.max(data.top, ...values));
    const place = scale(axis, data.logarithmic);
    const y = (value) => TOP + (1 - place(value)) * (HEIGHT - TOP - BOTTOM);
    const x = (time) => LEFT + ((time - data.from) / (data.to - data.from)) * (this.width - LEFT - RIGHT);
    this.x = x;
    const picture = svg("svg", { viewBox: `0 0 ${this.width} ${HEIGHT}`, role: "img", "aria-label": this.summary() });
    picture.append(...this.grid(axis, x, y), ...this.lines(x, y), ...this.marks(x));
    this.cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
    picture.append(this.cursor);
    this.plot.replaceChildren(picture);
    this.legend.replaceChildren(...data.lines.map((line, number) => el("li", {},
      svg("svg", { width: 26, height: 8, "aria-hidden": "true" }, svg("path", { class: `line s${number}`, d: "M1 4H25" })),
      line.name)));
    this.select(this.selected);
  }

  summary() {
    const last = this.data.at.length - 1;
    const said = this.data.lines.map((line) => `${line.name} ${this.data.word(line.values[last] ?? null)}`);
    return `${this.title}. Last: ${said.join(", ")}`;
  }

  grid(axis, x, y) {
    const rows = axis.flatMap((value) => [
      svg("line", { class: "grid", x1: LEFT, x2: this.width - RIGHT, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, this.data.word(value)),
    ]);
    const hours = times(this.data.from, this.data.to, Math.floor(this.width / 70)).filter((time) => x(time) < this.width - 16);
    const columns = hours.map((time) => svg("text", { x: x(time), y: HEIGHT - 5, "text-anchor": "middle" }, clock(time)));
    return [...rows, ...columns];
  }

  lines(x, y) {
    return this.data.lines.flatMap((line, number) => {
      const points = line.values.map((value, at) => [x(this.data.at[at]), value === null ? null : y(value)]);
      const [drawn, dots] = paths(points);
      const shapes = [svg("path", { class: `line s${number}`, d: drawn }), svg("path", { class: `line dot s${number}`, d: dots })];
      const known = points.filter(([, value]) => value !== null);
      if (this.data.filled && number === 0 && known.length > 1 && known.length === points.length) {
        const base = HEIGHT - BOTTOM;
        const area = `M${known[0][0]} ${base}${known.map(([px, py]) => `L${px.toFixed(1)} ${py.toFixed(1)}`).join("")}V${base}Z`;
        shapes.unshift(svg("path", { class: "area", d: area }));
      }
      return shapes;
    });
  }

  marks(x) {
    return this.data.marks.filter((mark) => mark.time >= this.data.from).flatMap((mark) => [
      svg("line", { class: "mark", x1: x(mark.time), x2: x(mark.time), y1: TOP, y2: HEIGHT - BOTTOM }),
      svg("text", { class: "mark-name", x: x(mark.time), y: TOP - 5, "text-anchor": "middle" },
        svg("title", {}, `${mark.name}, ${clock(mark.time, true)}`), mark.sign),
    ]);
  }

  point(event) {
    const box = this.plot.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * this.width;
    const { at } = this.data;
    let nearest = 0;
    at.forEach((time, number) => {
      if (Math.abs(this.x(time) - place) < Math.abs(this.x(at[nearest]) - place)) nearest = number;
    });
    this.select(at.length > 0 ? nearest : null);
  }

  key(event) {
    const last = this.data.at.length - 1;
    const from = this.selected ?? last + 1;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.select(Math.min(last, Math.max(0, to)));
  }

  /** Shows the values of one bucket. */
  select(number) {
    this.selected = number !== null && number < this.data.at.length ? number : null;
    if (this.selected === null) {
      this.readout.textContent = "";
      this.cursor.setAttribute("visibility", "hidden");
      return;
    }
    const time = this.data.at[this.selected];
    const said = this.data.lines.map((line) => `${line.name} ${this.data.word(line.values[this.selected])}`);
    this.readout.textContent = `${clock(time, true)}  ${said.join(" · ")}`;
    for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, this.x(time));
    this.cursor.setAttribute("visibility", "visible");
  }
}
