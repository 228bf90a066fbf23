// The cards of the sources: picture, state, figures. A picture that is not live says so.
import { $, clock, duration, element, explained, setText } from "./base.js";
import { paint } from "./paint.js";
import { play } from "./whep.js";

const cards = new Map();
// A picture this much older than its source's newest frame is not live any more.
const PICTURE_AGE_MAX_S = 5;
// Explanations of the reasons for unjudged frames.
const REASONS = {
  cut_off: "the file ends in the middle of them",
  fps: "beyond the frame rate that is asked for",
  inference_error: "the model failed on them",
  late: "the scene had gone on before they were made",
  overload: "a newer frame of a live source took their place before they were judged",
  overrun: "they were decoded faster than they were taken",
  stopping: "they were under way when the engine stopped",
  strategy_fault: "a strategy failed on them, and its on_failure is skip",
  unreadable: "their picture could not be read",
};
// What is written over the picture of a source that does not run; the others are lost.
const STATES = {
  connecting: "connecting",
  waiting: "waits for its publisher",
  stopped: "ended",
};

const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
const list = (counts) => Object.entries(counts).map(([name, n]) => `${name} ${n}`).join(", ");

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
  const screen = element("div", "screen");
  const veil = element("div", "veil");
  veil.hidden = true;
  const video = element("video");
  video.muted = video.autoplay = video.playsInline = true;
  video.hidden = true;
  screen.append(video, canvas, veil);
  const row = element("div", "row");
  const state = element("span", "badge");
  const fps = element("span", "fps dim");
  const name = element("span", "dim");
  row.append(element("span", "id", id), name, state, fps);
  const detail = element("div", "detail");
  const error = element("div", "error");
  const seen = element("div");
  const counts = element("details", "counts");
  counts.append(element("summary"), element("dl"));
  detail.append(error, seen, counts);
  root.append(screen, row, detail);
  $("sources").append(root);
  const made = { root, canvas, video, veil, name, state, fps, error, seen, counts, zones: [], made: Date.now(), pictured: null, plays: false };
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
  playOne();
}

// The enlarged source is played as it comes from its camera, or the only one.
function playOne() {
  const large = [...cards].find(([, c]) => c.root.classList.contains("large"));
  const [id, c] = large ?? (cards.size === 1 ? [...cards][0] : [null, null]);
  play(id, c?.video, (plays) => {
    c.plays = plays;
    c.video.hidden = !plays;
  });
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") enlarge(null);
});

// Writes over a picture why it is not live; an empty text takes that away.
function cover(c, text) {
  c.veil.hidden = !text;
  setText(c.veil, text);
}

function notLive(c, source) {
  const last = c.pictured ? `: picture of ${clock(c.pictured)}` : "";
  if (source.state !== "running") return (STATES[source.state] ?? (last ? "lost" : "no picture")) + last;
  const age = (Date.now() - (c.pictured ?? c.made)) / 1000;
  if (age <= PICTURE_AGE_MAX_S + (source.last_frame_age_s ?? 0)) return "";
  return last ? `this picture is ${duration(age)} old` : "no picture reaches this page";
}

export function showSources(sources) {
  for (const source of sources) showSource(source);
  const present = new Set(sources.map((s) => s.id));
  for (const [id, c] of cards) {
    if (!present.has(id)) {
      if (c.root.classList.contains("large")) enlarge(null);
      c.root.remove();
      cards.delete(id);
    }
  }
  playOne();
  const nothing = $("nothing");
  if (sources.length) nothing?.remove();
  else if (!nothing) {
    const text = "There is no source: name one in the configuration, or add one with dsengine sources add.";
    $("sources").append(Object.assign(element("p", "dim", text), { id: "nothing" }));
  }
}

function showSource(source) {
  const c = card(source.id);
  setText(c.name, source.name ?? "");
  setText(c.state, source.state);
  c.state.className = `badge ${source.state}`;
  setText(c.fps, source.state === "running" ? `${source.fps.toFixed(1)} fps` : "");
  c.zones = source.zones;
  cover(c, notLive(c, source));
  const retried = source.retry_every_s ? ` (tried again every ${duration(source.retry_every_s)})` : "";
  setText(c.error, source.error ? source.error + retried : "");
  setText(c.seen, sum(source.detections) ? `seen: ${list(source.detections)}` : "");
  // Frames beyond a configured frame rate limit do not count as dropped.
  const { fps: capped, ...dropped } = source.dropped;
  const parts = [`${source.judged} of ${source.frames} frames judged`];
  if (capped) parts.push(`${capped} left out`);
  if (sum(dropped)) parts.push(`${sum(dropped)} dropped`);
  const rows = Object.entries(source.dropped).filter(([, n]) => n);
  explained(c.counts, parts.join(", "), rows.map(([word, n]) => [n, word, REASONS[word] ?? "not judged"]));
}

// Nothing is known of the sources any more: no picture is live.
export function coverAll() {
  for (const c of cards.values()) cover(c, c.pictured ? `not live: picture of ${clock(c.pictured)}` : "not live");
}

export async function showPicture(meta, jpeg) {
  const c = card(meta.source);
  await paint(c.canvas, c.zones, meta, c.plays ? null : jpeg);
  c.pictured = Date.now();
}
