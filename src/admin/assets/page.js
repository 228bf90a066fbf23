// The page: polls the status once a second, receives events, and reads one stream with the pictures of all sources.
// External text (names, messages, labels) is only ever set as textContent.
const $ = (id) => document.getElementById(id);
const cards = new Map();
const ALERTS_MAX = 100;
const ZONE = "#ffd60a";
// Explanations of the reasons for unjudged frames.
const REASONS = {
  cut_off: "the file ends in the middle of them",
  inference_error: "the model failed on them",
  late: "the scene had gone on before they were made",
  overload: "a newer frame of a live source took their place before they were judged",
  overrun: "they were decoded faster than they were taken",
  stopping: "they were under way when the engine stopped",
  strategy_fault: "a strategy failed on them, and its on_failure is skip",
  unreadable: "their picture could not be read",
};

function element(tag, classes = "", text = "") {
  const node = document.createElement(tag);
  node.className = classes;
  node.textContent = text;
  return node;
}

function card(id) {
  if (cards.has(id)) return cards.get(id);
  const root = element("article", "card");
  const canvas = element("canvas");
  canvas.width = 640;
  canvas.height = 360;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "button");
  canvas.setAttribute("aria-label", `live picture of ${id}`);
  canvas.setAttribute("aria-pressed", "false");
  canvas.title = "click to enlarge, and again to go back";
  canvas.addEventListener("click", () => enlarge(id));
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      enlarge(id);
    }
  });
  const row = element("div", "row");
  const state = element("span", "badge");
  const fps = element("span", "fps dim");
  row.append(element("span", "id", id), state, fps);
  const detail = element("div", "detail");
  root.append(canvas, row, detail);
  $("sources").append(root);
  const made = { root, canvas, state, fps, detail, zones: [] };
  cards.set(id, made);
  return made;
}

// Enlarges a picture, or shrinks the enlarged one.
function enlarge(id) {
  for (const [other, c] of cards) {
    const large = other === id && !c.root.classList.contains("large");
    c.root.classList.toggle("large", large);
    c.canvas.setAttribute("aria-pressed", large);
  }
  document.body.classList.toggle("enlarged", Boolean(document.querySelector(".card.large")));
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") enlarge(null);
});

const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
const list = (counts) => Object.entries(counts).map(([name, n]) => `${name} ${n}`).join(", ");

function show(status) {
  document.title = `${status.name} · dsengine`;
  $("name").textContent = status.name;
  $("version").textContent = `dsengine ${status.version}`;
  $("health").textContent = status.health;
  $("health").className = `badge ${status.health}`;
  const running = status.sources.filter((s) => s.state === "running").length;
  $("summary").textContent = `${running} of ${status.sources.length} sources running · up ${Math.round(status.uptime_s)} s`;
  $("problems").hidden = status.problems.length === 0;
  $("problems").textContent = status.problems.join("\n");
  const { active, until } = status.silences;
  const silences = active === 1 ? "1 silence is active, until" : `${active} silences are active, the last until`;
  $("silences").hidden = active === 0;
  $("silences").textContent = active ? `${silences} ${clock(until)}` : "";
  for (const source of status.sources) {
    const c = card(source.id);
    c.state.textContent = source.state;
    c.state.className = `badge ${source.state}`;
    c.fps.textContent = `${source.fps.toFixed(1)} fps`;
    c.zones = source.zones;
    const parts = [`${source.judged} of ${source.frames} frames judged`];
    // Frames beyond a configured frame rate limit do not count as dropped.
    const { fps: capped, ...dropped } = source.dropped;
    if (capped) parts.push(`left out by fps: ${capped}`);
    if (sum(dropped)) parts.push(`dropped: ${list(dropped)}`);
    c.detail.title = Object.keys(dropped).map((word) => `${word}: ${REASONS[word] ?? "not judged"}`).join("\n");
    if (sum(source.detections)) parts.push(`seen: ${list(source.detections)}`);
    const retried = source.retry_every_s ? ` (tried again every ${source.retry_every_s} s)` : "";
    if (source.error) parts.unshift(source.error + retried);
    c.detail.textContent = parts.join(" · ");
  }
  const present = new Set(status.sources.map((s) => s.id));
  for (const [id, c] of cards) {
    if (!present.has(id)) {
      if (c.root.classList.contains("large")) enlarge(null);
      c.root.remove();
      cards.delete(id);
    }
  }
  const a = status.alerts;
  $("sums").textContent = `${a.raised} raised: ${a.delivered} delivered, ${a.pending} pending, ` +
    `${a.suppressed} held back, ${a.digested} in digests, ${a.refused} refused, ${a.dead_lettered + a.expired + a.dropped} failed`;
  const strategies = status.strategies.map((s) => {
    const note = (s.shadow_of ? `shadow of ${s.shadow_of}, ` : "") +
      (s.degraded ? "switched off" : `generation ${s.generation}`);
    return row(`${s.name} (${s.kind})`, s.last_error, s.faults ? `${note}, ${s.faults} faults` : note);
  });
  $("strategies").tBodies[0].replaceChildren(...strategies);
  const handlers = status.handlers.map((h) => {
    const notes = [`${h.delivered} delivered`];
    if (h.pending) notes.push(`${h.pending} pending`);
    if (h.given_up) notes.push(`${h.given_up} given up`);
    return row(h.name, h.last_error, notes.join(", "));
  });
  const none = () => row("none: alerts are counted only", null, "");
  $("handlers").tBodies[0].replaceChildren(...(handlers.length ? handlers : [none()]));
}

function row(name, error, note) {
  const tr = element("tr");
  const left = element("td", "", name);
  if (error) left.append(element("div", "error", error));
  tr.append(left, element("td", "", note));
  return tr;
}

// The local time, with the date if it is not today.
function clock(text) {
  const time = new Date(text);
  const day = time.toDateString() === new Date().toDateString() ? "" : `${time.toLocaleDateString()} `;
  return day + time.toLocaleTimeString();
}

// Whether the token may change anything.
let controls = false;

function alertItem(alert) {
  const li = element("li", alert.level, alert.message);
  li.dataset.id = alert.id;
  const held = alert.suppressed ? ` · ${alert.suppressed} held back before` : "";
  const when = element("time", "", clock(alert.time));
  when.dateTime = alert.time;
  when.title = alert.time;
  const small = element("small");
  const tags = alert.tags ? ` · ${alert.tags.join(" ")}` : "";
  const why = element("button", "why", "why");
  why.type = "button";
  why.addEventListener("click", () => explain(li, why, alert.id));
  small.append(when, ` · ${alert.level} · ${alert.source} · ${alert.rule}${tags}${held} · `, why);
  li.append(small, element("div", "case"));
  if (alert.picture) li.append(thumbnail(alert));
  showCase(li, alert.case ?? { state: "open" });
  return li;
}

// Shows where an alert stands, and what can be done about it.
function showCase(li, now) {
  const last = now.changes?.at(-1);
  const by = last ? ` by ${last.by.who}` : "";
  const parts = [element("span", `state ${now.state}`, now.state + by)];
  if (controls && now.state === "open") parts.push(stepButton(li, "acknowledge", "Acknowledge"));
  if (controls && now.state !== "resolved") parts.push(stepButton(li, "resolve", "Resolve"));
  li.classList.toggle("done", now.state === "resolved");
  li.querySelector(".case").replaceChildren(...parts);
}

function stepButton(li, step, text) {
  const button = element("button", "", text);
  button.type = "button";
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" };
      const path = `/api/v1/alerts/${encodeURIComponent(li.dataset.id)}/${step}`;
      showCase(li, (await (await ask(path, options)).json()).case);
    } catch (error) {
      button.disabled = false;
      button.title = error.message;
    }
  });
  return button;
}

// Shows how an alert was decided on below it, or hides it again.
async function explain(li, button, id) {
  const shown = li.querySelector("ul");
  if (shown) return shown.remove();
  button.disabled = true;
  let lines;
  try {
    lines = (await (await ask(`/api/v1/alerts/${encodeURIComponent(id)}/explain`)).json()).lines;
  } catch {
    lines = ["the log has it no more, or the engine does not answer"];
  }
  button.disabled = false;
  const list = element("ul", "why");
  list.append(...lines.map((line) => element("li", "", line)));
  li.append(list);
}

// The alert's picture, small, as a link to itself; nothing once it is no longer kept.
function thumbnail(alert) {
  const link = element("a", "picture");
  link.href = `/api/v1/alerts/${encodeURIComponent(alert.id)}/picture.jpg`;
  link.target = "_blank";
  const image = element("img");
  image.loading = "lazy";
  image.alt = `what ${alert.source} showed`;
  image.addEventListener("error", () => link.remove());
  image.src = link.href;
  link.append(image);
  return link;
}

// A stable colour for each class.
function color(label) {
  let hash = 0;
  for (const c of label) hash = (hash * 31 + c.codePointAt(0)) | 0;
  // Steps of the golden angle separate neighbouring hues.
  return `hsl(${(((hash * 137.508) % 360) + 360) % 360} 90% 70%)`;
}

// The overlap of two rectangles in pixels.
function overlap(a, b) {
  const width = Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y);
  return Math.max(0, width) * Math.max(0, height);
}

// A position for a label next to its box: inside the picture, and off the other labels if possible.
function place(w, h, named, width, height, placed) {
  const [left, right] = [named.x, named.x + named.w - w];
  const [above, below] = [named.y - h, named.y + named.h];
  const places = [[left, above], [right, above], [left, below], [right, below], [left, named.y], [left, below - h]];
  for (let n = 1; n < 5; n++) places.push([left, above - n * h], [left, below + n * h]);
  let best = null;
  let least = Infinity;
  for (const [px, py] of places) {
    const rect = { x: Math.max(0, Math.min(px, width - w)), y: Math.max(0, Math.min(py, height - h)), w, h };
    const covered = placed.reduce((all, other) => all + overlap(rect, other), 0);
    if (covered < least) [best, least] = [rect, covered];
    if (covered === 0) break;
  }
  return best;
}

function drawLabel(g, text, named, ground, unit, width, height, placed) {
  const rect = place(g.measureText(text).width + 8 * unit, 16 * unit, named, width, height, placed);
  placed.push(rect);
  g.fillStyle = ground;
  g.fillRect(rect.x, rect.y, rect.w, rect.h);
  g.fillStyle = "#000";
  g.fillText(text, rect.x + 4 * unit, rect.y + rect.h / 2);
}

function drawZones(g, zones, unit, width, height, placed) {
  for (const zone of zones) {
    const corners = zone.points.map(([x, y]) => [x * width, y * height]);
    g.beginPath();
    for (const [x, y] of corners) g.lineTo(x, y);
    g.closePath();
    g.fillStyle = "rgb(255 214 10 / 8%)";
    g.fill();
    g.strokeStyle = ZONE;
    g.stroke();
    const [x, y] = corners.reduce((top, corner) => (corner[1] < top[1] ? corner : top));
    drawLabel(g, zone.name, { x, y: y + 16 * unit, w: 0, h: 0 }, ZONE, unit, width, height, placed);
  }
}

// In screen pixels, so that lines and text have the same size on any display.
async function draw(meta, jpeg) {
  const c = card(meta.source);
  const bitmap = jpeg.length ? await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })) : null;
  c.canvas.classList.add("seen");
  c.canvas.style.setProperty("--ratio", meta.width / meta.height);
  const unit = Math.min(window.devicePixelRatio || 1, 2);
  const width = Math.max(2, Math.round((c.canvas.clientWidth || 640) * unit));
  const height = Math.max(2, Math.round((width * meta.height) / meta.width));
  if (c.canvas.width !== width || c.canvas.height !== height) {
    c.canvas.width = width;
    c.canvas.height = height;
  }
  const g = c.canvas.getContext("2d");
  g.fillStyle = "#0b0d10";
  g.fillRect(0, 0, width, height);
  if (bitmap) {
    g.drawImage(bitmap, 0, 0, width, height);
    bitmap.close();
  }
  g.font = `${12 * unit}px system-ui, sans-serif`;
  g.textBaseline = "middle";
  g.lineWidth = 2 * unit;
  const placed = [];
  drawZones(g, c.zones, unit, width, height, placed);
  const boxes = meta.detections.map((d) => {
    const box = { x: d.bbox.x * width, y: d.bbox.y * height, w: d.bbox.width * width, h: d.bbox.height * height };
    g.strokeStyle = color(d.label);
    g.strokeRect(box.x, box.y, box.w, box.h);
    return [d, box];
  });
  // After all boxes, so that no line crosses a text.
  for (const [d, box] of boxes) {
    const id = d.track_id === undefined ? "" : ` #${d.track_id}`;
    const text = `${d.label}${id} ${Math.round(d.confidence * 100)}%`;
    drawLabel(g, text, box, color(d.label), unit, width, height, placed);
  }
}

// Longest wait for an answer before the engine counts as not reachable.
const SILENCE_MS = 5000;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const find = (bytes, from) => {
  // The blank line that ends a part's header.
  for (let i = from; i + 3 < bytes.length; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i;
  }
  return -1;
};

// Fetches from the engine. Beyond loopback it requires a token, for which the form asks.
async function ask(path, options = {}) {
  const response = await fetch(path, options);
  if (response.status === 401) {
    $("login").hidden = false;
    $("health").textContent = "locked";
    $("health").className = "badge";
    throw new Locked("a token is needed");
  }
  if (!response.ok) throw new Error(await response.text());
  return response;
}

class Locked extends Error {}

// Exchanges the token for a cookie that scripts cannot read, since an EventSource sends no header.
$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  try {
    await ask("/api/v1/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
    $("refused").textContent = "";
    $("login").hidden = true;
  } catch (error) {
    $("refused").textContent = error instanceof Locked ? "There is no such token." : error.message;
  }
});

// Reads the multipart stream once; each part has Content-Length and X-Frame.
async function watch(signal) {
  const response = await ask("/live", { signal });
  const reader = response.body.getReader();
  const text = new TextDecoder();
  let buffer = new Uint8Array(0);
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(buffer.length + value.length);
    joined.set(buffer);
    joined.set(value, buffer.length);
    buffer = joined;
    for (;;) {
      const end = find(buffer, 0);
      if (end < 0) break;
      const head = text.decode(buffer.subarray(0, end));
      const length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? 0);
      const next = end + 4 + length + 2;
      if (buffer.length < next) break;
      const meta = /x-frame: *(.*)/i.exec(head);
      if (meta) await draw(JSON.parse(meta[1]), buffer.slice(end + 4, end + 4 + length));
      buffer = buffer.slice(next);
    }
  }
}

let watched = "";
let stop = new AbortController();
async function watchForever() {
  for (;;) {
    stop = new AbortController();
    try {
      if (watched) await watch(stop.signal);
    } catch {
      // The engine stopped or the set of sources changed: reconnect.
    }
    await pause(500);
  }
}

async function poll() {
  for (;;) {
    try {
      const status = await (await ask("/api/v1/status", { signal: AbortSignal.timeout(SILENCE_MS) })).json();
      $("login").hidden = true;
      document.body.classList.remove("stale");
      show(status);
      const ids = status.sources.map((s) => s.id).join("\n");
      if (ids !== watched) {
        watched = ids;
        stop.abort();
      }
    } catch (error) {
      if (!(error instanceof Locked)) {
        $("health").textContent = "not reachable";
        $("health").className = "badge gone";
        $("summary").textContent = "the page shows what was last known";
        document.body.classList.add("stale");
      }
    }
    await pause(1000);
  }
}

function alerts() {
  const shown = $("alerts");
  const fill = async () => {
    const session = await (await ask("/api/v1/session")).json();
    controls = session.scopes.includes("control");
    const recent = await (await ask("/api/v1/alerts")).json();
    if (recent.length) shown.replaceChildren(...recent.map(alertItem));
  };
  const events = new EventSource("/api/v1/events?kinds=alert,case,state");
  // After every (re)connection the list is fetched again, so that nothing is missed in between.
  events.onopen = () => fill().catch(() => {});
  events.onerror = () => {
    // It reconnects by itself, except after a refusal: no token yet, or too many streams.
    if (events.readyState === EventSource.CLOSED) setTimeout(alerts, 2000);
  };
  events.addEventListener("alert", (event) => {
    if (!shown.querySelector(".low, .medium, .high, .critical")) shown.replaceChildren();
    shown.prepend(alertItem(JSON.parse(event.data).alert));
    while (shown.children.length > ALERTS_MAX) shown.lastChild.remove();
  });
  events.addEventListener("case", (event) => {
    const changed = JSON.parse(event.data);
    const li = [...shown.children].find((item) => item.dataset.id === changed.id);
    if (li) showCase(li, changed.case);
  });
  events.addEventListener("lagged", () => fill().catch(() => {}));
}

watchForever();
poll();
alerts();
