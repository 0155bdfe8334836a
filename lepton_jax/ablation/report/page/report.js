"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const MARKS = { better: "▲", worse: "▼", undecided: "○", untested: "·" };
const SECTION = (id) => document.getElementById(id);

/* Elements. Text is only ever set as text, never as HTML. */

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined));
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/* Numbers as a reader should see them. */

const minus = (text) => (Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−"));
const number = (v) => typeof v === "number" && isFinite(v);
const fixed = (v, digits) => (number(v) ? minus(v.toFixed(digits)) : "–");
const value = (v) => fixed(number(v) ? v * data.scale : v, data.decimals);
const short = (v) => (number(v) ? minus(String(Number(v.toPrecision(3)))) : "–");
const signed = (v) => (v > 0 ? "+" : "") + value(v);
const range = (pair) => (pair ? `${value(pair[0])} to ${value(pair[1])}` : "–");
const probability = (p) => (!number(p) ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3));
const seconds = (s) => (!number(s) ? "–" : s.toLocaleString("en", { minimumFractionDigits: s < 100 ? 1 : 0, maximumFractionDigits: s < 100 ? 1 : 0 }));
const better = (a, b) => number(b.valid) - number(a.valid) || (data.mode === "max" ? b.valid - a.valid : a.valid - b.valid);
const Metric = data.metric.charAt(0).toUpperCase() + data.metric.slice(1);
const unit = data.percent ? " (%)" : "";

/* A table whose columns sort by a click. A column: {title, of: row -> what it sorts by,
   cell: row -> nodes or text, number}. `after(row)` gives nodes that follow the row. */

function table(columns, rows, { className, most = Infinity } = {}) {
  const body = el("tbody");
  let shown = rows, limit = most, sorted = null, descending = false;
  const more = el("button", { class: "plain more", type: "button", onclick: () => { limit = Infinity; refill(); } });
  const heads = columns.map((column) => {
    if (!column.of) return el("th", { scope: "col" }, el("span", { class: "label" }, column.title || ""));
    const head = el("th", { scope: "col", class: column.number ? "number" : null });
    head.append(el("button", { type: "button", onclick: () => sort(column) }, column.title));
    return head;
  });
  function sort(column) {
    descending = sorted === column ? !descending : Boolean(column.number);
    sorted = column;
    heads.forEach((head, i) => {
      if (columns[i] === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    refill();
  }
  function refill() {
    let ordered = shown;
    if (sorted) {
      const lacks = (v) => v === null || v === undefined || v === "";
      ordered = [...shown].sort((a, b) => {
        const [x, y] = [sorted.of(a), sorted.of(b)];
        if (lacks(x) || lacks(y)) return lacks(x) - lacks(y); // what has no value stays at the end
        const order = number(x) && number(y) ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
        return descending ? -order : order;
      });
    }
    body.replaceChildren(...ordered.slice(0, limit).map((row) =>
      el("tr", { class: className ? className(row) : null },
        ...columns.map((c) => el("td", { class: [c.class, c.number ? "number" : ""].join(" ").trim() || null }, c.cell(row))))));
    more.textContent = `Show all ${shown.length.toLocaleString("en")}`;
    more.hidden = ordered.length <= limit;
  }
  refill();
  const node = el("div", {}, el("div", { class: "scroll", tabindex: "-1" },
    el("table", {}, el("thead", {}, el("tr", {}, heads)), body)), more);
  return { node, filter: (keep) => { shown = rows.filter(keep); refill(); } };
}

function head(id, title, lead) {
  SECTION(id).append(el("h2", {}, title), lead ? el("p", { class: "lead" }, lead) : "");
}

function formats(id, names) {
  const links = names.filter((n) => data.tables.includes(n)).flatMap((name) =>
    [`${name}: `, ...["csv", "tex", "md"].flatMap((kind) =>
      [el("a", { href: `tables/${name}.${kind}` }, { csv: "CSV", tex: "LaTeX", md: "Markdown" }[kind]), " "]), " "]);
  SECTION(id).append(el("p", { class: "formats" }, "Beside this page, ", ...links));
}

/* Drawings are made anew for every width. */

const drawings = [];
function drawing(parent, make) {
  const box = el("div");
  parent.append(box);
  const entry = () => { if (box.isConnected) box.replaceChildren(make(Math.max(240, box.clientWidth))); };
  drawings.push(entry);
  entry();
}
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawings.forEach((d) => d()); } });

function ticks(low, high, count) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const values = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) values.push(i * step);
  return { at: values, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}
function powers(low, high) {
  const fits = (v) => v >= low * 0.999 && v <= high * 1.001, values = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) values.push(10 ** e, 3 * 10 ** e);
  const tens = values.filter((v, i) => i % 2 === 0 && fits(v)), some = values.filter(fits);
  return { at: tens.length > 3 ? tens : some.length > 1 ? some : ticks(low, high, 4).at };
}
const linear = (low, high, from, to) => (v) => from + ((v - low) / (high - low || 1)) * (to - from);

const tip = document.getElementById("tip");
function tells(node, text) {
  node.addEventListener("pointermove", (e) => {
    tip.textContent = text;
    tip.hidden = false;
    tip.style.left = `${Math.min(e.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${e.clientY + 16}px`;
  });
  node.addEventListener("pointerleave", () => { tip.hidden = true; });
  node.append(draw("title", {}, text));
  return node;
}

/* Results: each variant, and its difference from the baseline on one axis. */

function results() {
  const compared = data.variants.filter((v) => v.against && number(v.against.difference));
  const ends = compared.flatMap((v) => v.against.interval || [v.against.difference]);
  const [low, high] = [Math.min(0, ...ends), Math.max(0, ...ends)];
  const W = innerWidth < 640 ? 130 : 190, x = linear(low, high, 8, W - 8);
  const whisker = (v) => {
    if (!v.against || !number(v.against.difference)) return el("span", { class: "soft" }, v.name === data.baseline ? "baseline" : "–");
    const { difference, interval, verdict } = v.against;
    const colour = verdict === "better" ? "var(--good)" : verdict === "worse" ? "var(--bad)" : "var(--soft)";
    const open = verdict === "undecided" || verdict === "untested";
    return draw("svg", { class: "whisker", width: W, height: 22, role: "img", "aria-label": `${signed(difference)}, ${range(interval)}` },
      interval ? draw("line", { x1: x(interval[0]), x2: x(interval[1]), y1: 11, y2: 11, stroke: colour, "stroke-width": 2.5, "stroke-linecap": "round" }) : null,
      draw("circle", { cx: x(difference), cy: 11, r: 4.5, fill: open ? "var(--paper)" : colour, stroke: colour, "stroke-width": 2 }));
  };
  const a = (v, name) => (v.against ? v.against[name] : null);
  SECTION("results").style.setProperty("--zero", `${10 + x(0)}px`);
  const name = { title: "Variant", class: "name", of: (v) => v.name, cell: (v) => v.name };
  const tested = data.variants.some((v) => number(v.mean));
  const valid = { title: `Mean on valid${unit}`, number: true, of: (v) => v.valid, cell: (v) => value(v.valid) };
  const mean = !tested ? [valid] : [
    { title: `Mean${unit}`, number: true, of: (v) => v.mean, cell: (v) => value(v.mean) },
    { title: "sd", number: true, of: (v) => v.sd, cell: (v) => el("span", { class: "soft" }, value(v.sd)) },
    { title: data.folds ? "Folds" : "Seeds", number: true, of: (v) => v.seeds, cell: (v) => v.seeds },
  ];
  const mark = (v) => el("span", { class: `mark ${a(v, "verdict")}`, "aria-hidden": "true" }, MARKS[a(v, "verdict")]);
  const against = [
    { title: "Difference, 95 % interval", class: "difference", of: (v) => a(v, "difference"), cell: whisker },
    { title: data.points ? "Points" : "Difference", number: true, of: (v) => a(v, "difference"), cell: (v) =>
      number(a(v, "difference")) ? [signed(a(v, "difference")), a(v, "interval") ? el("span", { class: "soft" }, ` (${range(a(v, "interval"))})`) : ""] : "–" },
    { title: "Verdict", of: (v) => a(v, "verdict"), cell: (v) => (a(v, "verdict") ? [mark(v), " ", a(v, "verdict")] : "") },
    { title: "p (Holm)", number: true, of: (v) => a(v, "holm"), cell: (v) => probability(a(v, "holm")) },
  ];
  const more = [
    { title: "p", number: true, of: (v) => a(v, "p"), cell: (v) => probability(a(v, "p")) },
    { title: "Effect (Hedges g)", number: true, of: (v) => a(v, "g"), cell: (v) => short(a(v, "g")) },
    { title: "P(improves)", number: true, of: (v) => a(v, "improvement"), cell: (v) => fixed(a(v, "improvement"), 2) },
    { title: "Seeds lacking", number: true, of: (v) => a(v, "more"), cell: (v) => a(v, "more") ?? "–" },
    { title: "IQM", number: true, of: (v) => v.iqm, cell: (v) => value(v.iqm) },
    { title: "Mean, 95 % (t)", number: true, of: (v) => v.interval && v.interval[0], cell: (v) => range(v.interval) },
    { title: "Mean, 95 % (bootstrap)", number: true, of: (v) => v.bootstrap && v.bootstrap[0], cell: (v) => range(v.bootstrap) },
  ];
  const rows = tested ? data.variants : [...data.variants].sort(better);
  const look = { most: 30, className: (v) => (v.name === data.baseline ? "baseline" : null) };
  const filled = compared.length ? " A filled dot is a verdict that holds after Holm’s correction; each interval stands for itself." : "";
  head("results", "Results", `${Metric} on ${tested ? "test" : "valid, the best first"}; ${data.mode === "max" ? "more" : "less"} is better.${filled}`);
  SECTION("results").append(table([name, ...(compared.length ? against : []), ...mean], rows, look).node,
    !tested ? "" : el("details", { class: "fold" }, el("summary", {}, "Effect sizes, interquartile means and bootstrap intervals"),
      el("p", { class: "lead" }, "The bootstrap of fewer than 6 seeds is too narrow for its 95 %, so that Student’s t decides. P(improves): the chance that a run of the variant beats a run of the baseline. Seeds lacking: how many more until a difference of the observed size is found with 80 % power."),
      table([name, ...(compared.length ? more : more.slice(4))], data.variants, look).node));
  formats("results", ["results", "comparisons", "tuning"]);
}

function published() {
  if (!data.published.length) return;
  head("published", "Against published numbers", `Reproduced: the mean over ${data.folds ? "folds" : "seeds"} lies within the tolerance.`);
  SECTION("published").append(table([
    { title: "Variant", class: "name", of: (r) => r.variant, cell: (r) => r.variant },
    { title: `Published${unit}`, number: true, of: (r) => r.published, cell: (r) => `${value(r.published)} ± ${value(r.tolerance)}` },
    { title: `Ours${unit}`, number: true, of: (r) => r.mean, cell: (r) => [value(r.mean), el("span", { class: "soft" }, `  sd ${value(r.sd)}`)] },
    data.folds ? { title: "Folds", number: true, of: (r) => r.folds, cell: (r) => r.folds }
      : { title: "Seeds", number: true, of: (r) => r.seeds, cell: (r) => r.seeds },
    { title: "Verdict", of: (r) => r.verdict, cell: (r) => r.verdict },
    { title: "Source", of: (r) => r.source, cell: (r) => r.source },
  ], data.published).node);
  formats("published", ["published"]);
}

/* Learning curves: a line and a band for each variant that is chosen. */

function curves() {
  const all = data.curves.map((name) => data.variants.find((v) => v.name === name)).filter((v) => v.curve.steps.length > 1);
  if (!all.length) return;
  head("curves", "Learning curves", `${Metric} on valid. A line is the mean over ${data.folds ? "folds" : "seeds"}, its band reaches from the lowest to the highest. The vertical axis ${data.log ? "is logarithmic" : "does not start at zero"}.`);
  const colour = (v) => `var(--c${v.colour})`;
  const chosen = new Set(all.slice(0, 4).map((v) => v.name));
  let late = false;
  const chips = all.map((v) => {
    const chip = el("button", { class: "chip", type: "button", "aria-pressed": chosen.has(v.name), onclick: () => {
      if (!chosen.delete(v.name)) chosen.add(v.name);
      chip.setAttribute("aria-pressed", chosen.has(v.name));
      drawings.forEach((d) => d());
    } }, draw("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" },
      draw("line", { x1: 0, x2: 24, y1: 4, y2: 4, stroke: colour(v), "stroke-width": 2.5, "stroke-dasharray": v.dash })), v.name);
    return chip;
  });
  const zoom = el("button", { class: "plain", type: "button", "aria-pressed": "false", onclick: () => {
    late = !late;
    zoom.setAttribute("aria-pressed", late);
    zoom.textContent = late ? "Show the whole run" : "Show the second half only";
    drawings.forEach((d) => d());
  } }, "Show the second half only");
  SECTION("curves").append(el("div", { class: chips.length > 16 ? "tools chips many" : "tools chips" }, chips));
  drawing(SECTION("curves"), (W) => {
    const H = W < 600 ? 280 : 400, shown = all.filter((v) => chosen.has(v.name));
    const narrow = W < 600, longest = Math.max(0, ...shown.map((v) => v.name.length)), right = narrow ? W - 8 : W - Math.min(240, 44 + 6.6 * longest), left = 58, bottom = H - 40;
    const last = Math.max(...all.map((v) => v.curve.steps.at(-1))), first = late ? last / 2 : Math.min(...all.map((v) => v.curve.steps[0]));
    const cut = shown.map((v) => ({ v, at: v.curve.steps.map((s, i) => [s, i]).filter(([s]) => s >= first).map(([, i]) => i) })).filter((c) => c.at.length);
    const values = cut.flatMap(({ v, at }) => at.flatMap((i) => [v.curve.low[i], v.curve.high[i]])).map((y) => y * data.scale);
    const top = values.length ? Math.max(...values) : 1, low = values.length ? Math.min(...values) : data.log ? 0.1 : 0, f = data.log ? Math.log10 : (v) => v, room = (f(top) - f(low)) * 0.04 || Math.abs(f(top)) * 0.01 || 1;
    const x = linear(first, last, left, right), vertical = linear(f(low) - room, f(top) + room, bottom, 12), y = (v) => vertical(f(v));
    const xs = ticks(first, last, narrow ? 4 : 7), ys = data.log ? powers(low, top) : ticks(low - room, top + room, 5);
    const svg = draw("svg", { width: W, height: H, role: "img", "aria-label": `Learning curves of ${shown.map((v) => v.name).join(", ")}` },
      ys.at.map((t) => [draw("line", { x1: left, x2: right, y1: y(t), y2: y(t), class: "axis" }), draw("text", { x: left - 10, y: y(t) + 4, "text-anchor": "end" }, (data.log ? short(t) : minus(t.toFixed(ys.digits))) + data.percent)]),
      xs.at.map((t) => draw("text", { x: x(t), y: bottom + 20, "text-anchor": x(t) > right - 14 ? "end" : "middle" }, t.toLocaleString("en"))),
      draw("text", { x: right, y: H - 3, "text-anchor": "end", class: "strong" }, "step →"));
    const labels = [];
    for (const { v, at } of cut) {
      const c = v.curve;
      const point = (i, of) => `${x(c.steps[i]).toFixed(1)},${y(of[i] * data.scale).toFixed(1)}`;
      if (c.seeds > 1) svg.append(draw("polygon", { points: [...at.map((i) => point(i, c.high)), ...[...at].reverse().map((i) => point(i, c.low))].join(" "), fill: colour(v), opacity: 0.13 }));
      svg.append(tells(draw("polyline", { points: at.map((i) => point(i, c.mean)).join(" "), fill: "none", stroke: colour(v), "stroke-width": v.name === data.baseline ? 2.6 : 2, "stroke-dasharray": v.dash, "stroke-linejoin": "round" }), v.name));
      labels.push({ name: v.name, colour: colour(v), at: y(c.mean[at.at(-1)] * data.scale), end: x(c.steps[at.at(-1)]) });
    }
    if (!narrow) {
      labels.sort((a, b) => a.at - b.at);
      labels.forEach((l, i) => { l.place = Math.max(l.at, i ? labels[i - 1].place + 17 : -Infinity); });
      const over = labels.length ? labels.at(-1).place - bottom : 0;
      for (const l of labels) {
        const place = l.place - Math.max(0, over);
        svg.append(draw("text", { x: right + 12, y: place + 4, class: "strong" }, draw("tspan", { style: `fill:${l.colour}` }, "■ "), l.name.length > 32 ? `${l.name.slice(0, 31)}…` : l.name));
      }
    }
    return svg;
  });
  SECTION("curves").append(el("div", { class: "tools", style: "margin:14px 0 0" }, zoom), el("p", { class: "formats" }, "Beside this page, ", el("a", { href: "curves.png" }, "curves.png")));
}

/* The space: a heat map of two keys, points of two keys, or a plot for each key. */

const named = (k) => k.key;
const order = (values) => [...new Set(values)].sort((a, b) => (number(a) && number(b) ? a - b : String(a).localeCompare(String(b), "en", { numeric: true })));
const label = (v) => (number(v) ? short(v) : String(v).length > 16 ? `${String(v).slice(0, 15)}…` : String(v));
const position = (key, low, high, from, to) => { const f = key.log ? Math.log10 : (v) => v, s = linear(f(low), f(high), from, to); return (v) => s(f(v)); };

function space() {
  if (!data.space) return;
  const { kind, keys, points } = data.space;
  const metrics = points.filter((p) => number(p.valid)).map((p) => p.valid);
  if (!metrics.length) return;
  const low = Math.min(...metrics), high = Math.max(...metrics);
  const [worst, best] = data.mode === "max" ? [low, high] : [high, low];
  const share = (v) => (high > low ? (v - worst) / (best - worst) : 0.5);
  const means = { grid: "A cell is the mean over its trials, the stronger its colour the better; a cross stands where none came to a number.", scatter: "A disc is a trial, the stronger its colour the better; a cross came to no number.", strips: "A dot is a trial, a bar the mean of those with the same value." }[kind];
  head("space", "What was varied", `${Metric} on valid, which is what choices went by. ${means}`);
  const paint = (v) => { const s = share(v); return `color-mix(in srgb, rgb(var(--heat-high)) ${(100 * s).toFixed(0)}%, rgb(var(--heat-low)))`; };
  if (kind === "grid") drawing(SECTION("space"), (W) => heat(W, keys, points, paint, share));
  else if (kind === "scatter") drawing(SECTION("space"), (W) => scatter(W, keys, points, paint));
  else {
    const grid = el("div", { class: "strips" });
    SECTION("space").append(grid);
    keys.forEach((key, i) => {
      const box = el("div", {}, el("h3", {}, named(key)));
      grid.append(box);
      drawing(box, (W) => strip(W, key, points.filter((p) => number(p.valid)).map((p) => ({ at: p.at[i], y: p.valid * data.scale, name: p.name })), low * data.scale, high * data.scale));
    });
  }
  if (kind !== "strips") SECTION("space").append(el("div", { class: "scale" }, `worst ${value(worst)}`, el("i", { "aria-hidden": "true" }), `best ${value(best)}`));
}

function heat(W, keys, points, paint, share) {
  const [xs, ys] = [order(points.map((p) => p.at[0])), order(points.map((p) => p.at[1])).reverse()];
  const left = 74, cw = Math.min(110, (W - left) / xs.length), ch = Math.min(52, Math.max(30, cw * 0.6)), H = ys.length * ch + 52;
  const svg = draw("svg", { width: W, height: H, role: "img", "aria-label": `${keys[0].key} against ${keys[1].key}` });
  ys.forEach((yv, r) => {
    svg.append(draw("text", { x: left - 10, y: r * ch + ch / 2 + 22, "text-anchor": "end" }, label(yv)));
    xs.forEach((xv, c) => {
      const mine = points.filter((p) => p.at[0] === xv && p.at[1] === yv), good = mine.filter((p) => number(p.valid));
      if (!mine.length) return;
      const mean = good.length ? good.reduce((s, p) => s + p.valid, 0) / good.length : null;
      const cell = draw("g", {}, draw("rect", { x: left + c * cw + 1, y: r * ch + 19, width: cw - 2, height: ch - 2, rx: 2, fill: mean === null ? "var(--wash)" : paint(mean) }),
        draw("text", { x: left + c * cw + cw / 2, y: r * ch + ch / 2 + 22, "text-anchor": "middle", style: mean !== null && share(mean) > 0.55 ? "fill:var(--paper)" : "fill:var(--ink)" }, mean === null ? "×" : cw < 44 ? fixed(mean * data.scale, 0) : value(mean)));
      svg.append(tells(cell, `${keys[0].key} ${label(xv)}, ${keys[1].key} ${label(yv)}: ${value(mean)}${data.percent}, ${good.length} of ${mine.length} trials`));
    });
  });
  xs.forEach((xv, c) => svg.append(draw("text", { x: left + c * cw + cw / 2, y: ys.length * ch + 34, "text-anchor": "middle" }, label(xv))));
  svg.append(draw("text", { x: 0, y: 10, class: "strong" }, `↑ ${named(keys[1])}`), draw("text", { x: left, y: H - 2, class: "strong" }, `${named(keys[0])} →`));
  return svg;
}

function scatter(W, keys, points, paint) {
  const H = Math.min(440, W * 0.75), left = 62, right = W - 12, top = 26, bottom = H - 44;
  const bounds = keys.map((_, i) => { const v = points.map((p) => p.at[i]); return [Math.min(...v), Math.max(...v)]; });
  const x = position(keys[0], ...bounds[0], left + 12, right - 12), y = position(keys[1], ...bounds[1], bottom - 12, top + 12);
  const svg = draw("svg", { width: W, height: H, role: "img", "aria-label": `${keys[0].key} against ${keys[1].key}` },
    axis(keys[0], bounds[0]).map((t) => [draw("line", { x1: x(t), x2: x(t), y1: top, y2: bottom, class: "axis" }), draw("text", { x: x(t), y: bottom + 18, "text-anchor": "middle" }, short(t))]),
    axis(keys[1], bounds[1]).map((t) => [draw("line", { x1: left, x2: right, y1: y(t), y2: y(t), class: "axis" }), draw("text", { x: left - 8, y: y(t) + 4, "text-anchor": "end" }, short(t))]),
    draw("text", { x: 0, y: 12, class: "strong" }, `↑ ${named(keys[1])}${keys[1].log ? " (log)" : ""}`), draw("text", { x: right, y: H - 2, "text-anchor": "end", class: "strong" }, `${named(keys[0])}${keys[0].log ? " (log)" : ""} →`));
  for (const p of points) {
    const [cx, cy] = [x(p.at[0]), y(p.at[1])];
    svg.append(tells(number(p.valid) ? draw("circle", { cx, cy, r: 6.5, fill: paint(p.valid), stroke: "var(--soft)", "stroke-width": 0.8 })
      : draw("path", { d: `M${cx - 4},${cy - 4}l8,8m0,-8l-8,8`, stroke: "var(--bad)", "stroke-width": 2 }), `${p.name}: ${value(p.valid)}${number(p.valid) ? data.percent : ""}`));
  }
  return svg;
}

function axis(key, [low, high]) {
  if (!key.log) return ticks(low, high, 5).at;
  const powers = [];
  for (let e = Math.ceil(Math.log10(low) - 1e-9); e <= Math.log10(high) + 1e-9; e++) powers.push(10 ** e);
  return powers.length > 1 ? powers : [low, high];
}

function strip(W, key, points, low, high) {
  const H = 190, left = 46, right = W - 10, bottom = H - 26, room = (high - low) * 0.06 || 1;
  const y = linear(low - room, high + room, bottom, 8), ys = ticks(low - room, high + room, 4);
  const groups = order(points.map((p) => p.at)), spread = key.numeric && groups.length > 8;
  const numbers = spread ? groups : [];
  const x = spread ? position(key, numbers[0], numbers.at(-1), left + 10, right - 10) : (v) => left + ((groups.indexOf(v) + 0.5) * (right - left)) / groups.length;
  const svg = draw("svg", { width: W, height: H, role: "img", "aria-label": key.key },
    ys.at.map((t) => [draw("line", { x1: left, x2: right, y1: y(t), y2: y(t), class: "axis" }), draw("text", { x: left - 8, y: y(t) + 4, "text-anchor": "end" }, minus(t.toFixed(ys.digits)))]),
    (spread ? axis(key, [numbers[0], numbers.at(-1)]) : groups).map((g) => draw("text", { x: x(g), y: H - 6, "text-anchor": "middle" }, label(g))));
  points.forEach((p, i) => svg.append(tells(draw("circle", { cx: x(p.at) + (spread ? 0 : ((i * 7) % 11) - 5), cy: y(p.y), r: 3, fill: "var(--c1)", opacity: points.length > 200 ? 0.35 : 0.6 }), `${p.name}: ${fixed(p.y, data.decimals)}${data.percent}`)));
  if (!spread) for (const g of groups) {
    const mine = points.filter((p) => p.at === g), mean = mine.reduce((s, p) => s + p.y, 0) / mine.length;
    svg.append(draw("line", { x1: x(g) - 14, x2: x(g) + 14, y1: y(mean), y2: y(mean), stroke: "var(--ink)", "stroke-width": 2 }));
  }
  return svg;
}

/* Cost. */

function cost() {
  const rows = data.variants.map((v) => v.cost), total = rows.reduce((s, r) => s + r["device-seconds"], 0);
  const most = Math.max(...rows.map((r) => r["device-seconds"]));
  head("cost", "Cost", `${seconds(total)} device-seconds (${(total / 3600).toPrecision(2)} device-hours) in ${data.trials.length.toLocaleString("en")} trials.`);
  SECTION("cost").append(table([
    { title: "Variant", class: "name", of: (r) => r.variant, cell: (r) => r.variant },
    { title: "Trials", number: true, of: (r) => r.trials, cell: (r) => r.trials },
    { title: "Device-seconds", number: true, of: (r) => r["device-seconds"], cell: (r) => seconds(r["device-seconds"]) },
    { title: "A trial", number: true, of: (r) => r["a trial"], cell: (r) => seconds(r["a trial"]) },
    { title: "Share", of: (r) => r.share, cell: (r) => draw("svg", { width: 220, height: 10, role: "img", "aria-label": `${fixed(100 * r.share, 1)} %` }, draw("rect", { width: most ? (220 * r["device-seconds"]) / most : 0, height: 10, rx: 1, class: "bar" })) },
    { title: "", cell: (r) => el("span", { class: "soft" }, number(r.share) ? `${fixed(100 * r.share, 1)} %` : "–") },
  ], rows, { most: 30 }).node);
  formats("cost", ["cost"]);
}

/* Trials: every row opens to what made it, and how to make it again. */

function details(trial) {
  const facts = el("dl", { class: "facts" });
  const fact = (name, ...nodes) => facts.append(el("dt", {}, name), el("dd", {}, nodes));
  fact("State", el("span", { class: trial.state.replace(" ", "-") }, trial.state), trial.reason ? `: ${trial.reason}` : "");
  fact("Differs in", trial.changes.length ? el("table", { class: "diff" }, el("tbody", {}, trial.changes.map(([key, old, now]) =>
    el("tr", {}, el("td", {}, el("code", {}, key)), el("td", {}, el("code", { class: "old" }, old)), el("td", {}, el("code", {}, now)))))) : "nothing: it is the baseline's config");
  const copy = el("button", { class: "plain", type: "button", onclick: async () => {
    try { await navigator.clipboard.writeText(trial.command); copy.textContent = "Copied"; }
    catch { getSelection().selectAllChildren(code); copy.textContent = "Selected: press Ctrl-C"; }
  } }, "Copy");
  const code = el("code", {}, trial.command.split(" ").flatMap((word) => [el("span", { class: "word" }, word), " "]));
  fact("Run it again", el("div", { class: "command" }, code, copy));
  fact("Workdir", el("code", {}, trial.workdir));
  if (trial.curve.length > 1) {
    const [s, v] = [trial.curve.map((p) => p[0]), trial.curve.map((p) => p[1])], low = Math.min(...v), high = Math.max(...v);
    const x = linear(s[0], s.at(-1), 2, 278), y = linear(low, high, 54, 4);
    fact("On valid", draw("svg", { width: 280, height: 58, role: "img", "aria-label": `from ${value(v[0])} to ${value(v.at(-1))}` },
      draw("polyline", { points: s.map((t, i) => `${x(t).toFixed(1)},${y(v[i]).toFixed(1)}`).join(" "), fill: "none", stroke: "var(--c1)", "stroke-width": 1.8 })),
      el("span", { class: "soft" }, `step ${s[0].toLocaleString("en")} to ${s.at(-1).toLocaleString("en")}, ${value(low)} to ${value(high)}${data.percent}`));
  }
  return facts;
}

function trials() {
  const tuned = data.trials.some((t) => t.tuning);
  const columns = [
    { title: "", class: "narrow", cell: (t) => el("button", { class: "expand", type: "button", "aria-expanded": "false", "aria-label": `Details of ${t.variant}, seed ${t.seed}`, onclick: toggle(t) }) },
    { title: "Variant", class: "name", of: (t) => t.variant, cell: (t) => t.variant },
    ...(data.folds ? [{ title: "Fold", number: true, of: (t) => t.fold, cell: (t) => t.fold }] : []),
    { title: "Seed", number: true, of: (t) => t.seed, cell: (t) => t.seed },
    ...(tuned ? [{ title: "Tuning", of: (t) => t.tuning, cell: (t) => el("span", { class: "soft" }, t.tuning.replace(/[\w.]*\.(?=\w+=)/g, "")) }] : []),
    { title: "State", of: (t) => t.state, cell: (t) => el("span", { class: t.state.replace(" ", "-") }, (["failed", "lost", "not finite"].includes(t.state) ? "✕ " : "") + t.state) },
    { title: `Valid${unit}`, number: true, of: (t) => t.valid, cell: (t) => value(t.valid) },
    { title: `Test${unit}`, number: true, of: (t) => t.test, cell: (t) => value(t.test) },
    { title: "Device-seconds", number: true, of: (t) => t.seconds, cell: (t) => seconds(t.seconds) },
  ];
  function toggle(trial) {
    return (event) => {
      const button = event.currentTarget, row = button.closest("tr"), open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", !open);
      if (open) row.nextSibling.remove();
      else row.after(el("tr", { class: "details" }, el("td", { colspan: columns.length }, details(trial))));
    };
  }
  head("trials", "Trials", "A row opens to what it changed and the command that runs it again.");
  const listing = table(columns, data.trials, { most: 50 });
  const states = [...new Set(data.trials.map((t) => t.state))];
  const words = el("input", { type: "search", placeholder: "Filter by name or changed key", "aria-label": "Filter trials", oninput: apply });
  const state = el("select", { "aria-label": "State", onchange: apply }, el("option", { value: "" }, "any state"), states.map((s) => el("option", { value: s }, s)));
  function apply() {
    const text = words.value.toLowerCase();
    listing.filter((t) => (!state.value || t.state === state.value)
      && `${t.variant} ${t.tuning} ${t.changes.map((c) => c.join(" ")).join(" ")} seed ${t.seed}`.toLowerCase().includes(text));
  }
  SECTION("trials").append(el("div", { class: "tools" }, words, states.length > 1 ? state : ""), listing.node);
  formats("trials", ["trials"]);
}

function provenance() {
  if (!data.provenance.length) return;
  head("provenance", "Provenance");
  const facts = el("dl", { class: "facts", style: "margin-top:16px" });
  const packages = data.provenance.filter(([name]) => name.startsWith("packages."));
  const rest = data.provenance.filter(([name]) => !name.startsWith("packages."));
  const long = (text) => (text.length > 160 || text.includes("\n") ? el("details", {}, el("summary", {}, `${text.length.toLocaleString("en")} characters`), el("pre", {}, text)) : el("code", {}, text));
  for (const [name, text] of rest) facts.append(el("dt", {}, name), el("dd", {}, long(text)));
  if (packages.length) facts.append(el("dt", {}, "packages"), el("dd", {}, el("details", {}, el("summary", {}, `${packages.length} installed`), el("pre", {}, packages.map(([n, v]) => `${n.slice(9)} ${v}`).join("\n")))));
  SECTION("provenance").append(facts);
}

results(); published(); curves(); space(); cost(); trials(); provenance();
