// The page: polls the status once a second, receives events, and reads one stream with the pictures of all sources.
import { followAlerts, showSums } from "./alerts.js";
import { $, Locked, action, ask, clock, duration, element, mayControlAll, pause, setText } from "./base.js";
import { coverAll, showPicture, showSources } from "./sources.js";

// Longest wait for an answer before the engine counts as not reachable.
const SILENCE_MS = 5000;
let name = "dsengine";

function say(health, text = health) {
  setText($("health"), text);
  $("health").className = `badge ${health}`;
  document.title = health === "healthy" ? `${name} · dsengine` : `${text} · ${name}`;
}

function show(status) {
  name = status.name;
  setText($("name"), name);
  setText($("version"), `dsengine ${status.version}`);
  say(status.health);
  const running = status.sources.filter((s) => s.state === "running").length;
  const all = status.sources.length;
  const parts = [`${running} of ${all} ${all === 1 ? "source" : "sources"} running`];
  if (status.profile) parts.push(`profile ${status.profile}`);
  parts.push(`up ${duration(status.uptime_s)}`);
  setText($("summary"), parts.join(" · "));
  showProblems(status.problems);
  showSilences(status.silences).catch(() => {});
  showSources(status.sources);
  showSums(status.alerts);
  const strategies = status.strategies.map((s) => {
    const notes = [s.degraded ? "switched off" : s.off_schedule ? "off by its schedule" : `generation ${s.generation}`];
    if (s.faults) notes.push(`${s.faults} faults`);
    return part(s.kind === s.name ? s.name : `${s.name} (${s.kind})`, s.last_error, notes.join(", "));
  });
  $("strategies").replaceChildren(...strategies);
  const handlers = status.handlers.map((h) => {
    const notes = [`${h.delivered} delivered`];
    if (h.pending) notes.push(`${h.pending} pending`);
    if (h.given_up) notes.push(`${h.given_up} given up`);
    return part(h.name, h.last_error, notes.join(", "));
  });
  const none = () => part("none: alerts are counted only", null, "");
  $("handlers").replaceChildren(...(handlers.length ? handlers : [none()]));
}

function part(name, error, note) {
  const li = element("li");
  li.append(element("span", "", name), element("span", "dim note", note));
  if (error) li.append(element("div", "error", error));
  return li;
}

// Replaces the items of a list only if a text changed.
function setItems(list, texts) {
  const shown = texts.join("\n");
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  list.replaceChildren(...texts.map((text) => element("li", "", text)));
}

function showProblems(problems) {
  const box = $("problems");
  box.hidden = problems.length === 0;
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  const summary = box.querySelector("summary");
  if (!summary.firstChild) {
    const said = element("b");
    said.setAttribute("role", "status");
    summary.append(said, element("span", "first"));
  }
  // The first one is to be read even while the list is closed.
  setText(summary.firstChild, count);
  setText(summary.lastChild, problems.length ? ` ${problems[0]}` : "");
  setItems(box.querySelector("ul"), problems);
}

let silencesRead = "";

// How many silences hold; which they are where the token may know.
async function showSilences({ active, until }) {
  const box = $("silences");
  box.hidden = active === 0;
  if (!active) return;
  const count = active === 1 ? "1 silence is active, until" : `${active} silences are active, the last until`;
  setText(box.querySelector("summary"), `${count} ${clock(until)}`);
  const state = `${active} ${until} ${mayControlAll()}`;
  if (state === silencesRead) return;
  silencesRead = state;
  box.classList.add("bare");
  const all = await (await ask("/api/v1/silences")).json();
  const items = all.filter((silence) => silence.state === "active").map((silence) => {
    const comment = silence.comment ? `: ${silence.comment}` : "";
    const what = `${silence.matchers.join(" ")} until ${clock(silence.ends_at)}, by ${silence.created_by}${comment} `;
    const li = element("li", "", what);
    const end = () => [`/api/v1/silences/${encodeURIComponent(silence.id)}`, { method: "DELETE" }];
    if (mayControlAll()) li.append(action("End", end, () => li.remove()));
    return li;
  });
  box.querySelector("ul").replaceChildren(...items);
  box.classList.remove("bare");
}

// Beyond loopback the engine requires a token, for which the form asks.
function lock() {
  if (document.body.classList.contains("locked")) return;
  document.body.classList.add("locked");
  $("login").hidden = false;
  $("token").focus();
  say("locked");
  setText($("summary"), "");
}

function unlock() {
  document.body.classList.remove("locked");
  $("login").hidden = true;
}

// Exchanges the token for a cookie that scripts cannot read, since an EventSource sends no header.
$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  try {
    await ask("/api/v1/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
    $("refused").textContent = "";
    unlock();
  } catch (error) {
    $("refused").textContent = error instanceof Locked ? "There is no such token." : error.message;
    $("token").focus();
  }
});

const find = (bytes, from) => {
  // The blank line that ends a part's header.
  for (let i = from; i + 3 < bytes.length; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i;
  }
  return -1;
};

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
      if (meta) await showPicture(JSON.parse(meta[1]), buffer.slice(end + 4, end + 4 + length));
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
  let answered = null;
  for (;;) {
    try {
      const status = await (await ask("/api/v1/status", { signal: AbortSignal.timeout(SILENCE_MS) })).json();
      answered = Date.now();
      unlock();
      document.body.classList.remove("stale");
      show(status);
      const ids = status.sources.map((s) => s.id).join("\n");
      if (ids !== watched) {
        watched = ids;
        stop.abort();
      }
    } catch (error) {
      if (error instanceof Locked) lock();
      else {
        say("gone", "not reachable");
        setText($("summary"), answered ? `what follows is of ${clock(answered)}` : "");
        document.body.classList.add("stale");
        coverAll();
      }
    }
    await pause(1000);
  }
}

// On a phone the alerts come first: the problems are one line until they are asked for.
$("problems").open = !matchMedia("(max-width: 900px)").matches;
watchForever();
poll();
followAlerts();
