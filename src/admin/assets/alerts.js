// The list of alerts: what each says, where it stands, and what can be done about it.
import { $, action, ask, clock, element, explained, mayControl, mayControlAll, readSession } from "./base.js";

const ALERTS_MAX = 100;
// The alert of each item.
const alerts = new WeakMap();
const JSON_BODY = { "Content-Type": "application/json" };

// Keeps the list up to date, for ever.
export function followAlerts() {
  const shown = $("alerts");
  const find = (id) => [...shown.children].find((item) => item.dataset.id === id);
  const fill = async () => {
    await readSession();
    const before = new Set(shown.children);
    const recent = await (await ask("/api/v1/alerts")).json();
    // What came while it was asked stays.
    const known = new Set(recent.map((alert) => alert.id));
    const isNewer = (item) => item.dataset.id && !before.has(item) && !known.has(item.dataset.id);
    const newer = [...shown.children].filter(isNewer);
    const items = [...newer, ...recent.map(alertItem)];
    shown.replaceChildren(...(items.length ? items : [element("li", "dim", "none yet")]));
  };
  const events = new EventSource("/api/v1/events?kinds=alert,case,state");
  // After every (re)connection the list is fetched again, so that nothing is missed in between.
  events.onopen = () => fill().catch(() => {});
  events.onerror = () => {
    // It reconnects by itself, except after a refusal: no token yet, or too many streams.
    if (events.readyState === EventSource.CLOSED) setTimeout(followAlerts, 2000);
  };
  events.addEventListener("alert", (event) => {
    const alert = JSON.parse(event.data).alert;
    if (find(alert.id)) return;
    if (!shown.querySelector("[data-id]")) shown.replaceChildren();
    shown.prepend(alertItem(alert));
    while (shown.children.length > ALERTS_MAX) shown.lastChild.remove();
  });
  events.addEventListener("case", (event) => {
    const changed = JSON.parse(event.data);
    const li = find(changed.id);
    if (li) showCase(li, changed.case);
  });
  events.addEventListener("lagged", () => fill().catch(() => {}));
}

// How many alerts went which way; each is counted once.
export function showSums(a) {
  const rows = [
    [a.recovered, "recovered", "an earlier run had accepted them, and not delivered them"],
    [a.delivered, "delivered", "every handler that wants them has them"],
    [a.pending, "pending", "a handler does not have them yet"],
    [a.suppressed, "held back", "the condition of an earlier alert lasts, or a silence or quiet hours hold"],
    [a.digested, "in digests", "over a limit: one alert tells of them together"],
    [a.refused, "refused", "below the least score or level, or there was no room"],
    [a.dead_lettered, "not delivered", "a handler gave up: dsengine alerts list --undelivered"],
    [a.expired, "expired", "too old before every handler had them"],
    [a.dropped, "dropped", "a queue was full, or a handler was removed"],
  ].filter(([n]) => n);
  const failed = a.dead_lettered + a.expired + a.dropped;
  const parts = [`${a.raised} raised`];
  if (a.pending) parts.push(`${a.pending} pending`);
  if (failed) parts.push(`${failed} not delivered`);
  $("sums").hidden = a.raised + a.recovered === 0;
  explained($("sums"), parts.join(", "), rows);
}

function alertItem(alert) {
  const li = element("li", alert.level);
  li.dataset.id = alert.id;
  alerts.set(li, alert);
  const when = element("time", "", clock(alert.time));
  when.dateTime = alert.time;
  when.title = alert.time;
  const small = element("small");
  const tags = alert.tags ? ` · ${alert.tags.join(" ")}` : "";
  const held = alert.suppressed ? ` · ${alert.suppressed} held back before` : "";
  small.append(element("b", "level", alert.level), " · ", when, ` · ${alert.source} · ${alert.rule}${tags}${held}`);
  li.append(element("div", "message", alert.message), small, element("div", "case"));
  if (alert.picture) li.append(thumbnail(alert));
  showCase(li, alert.case ?? { state: "open" });
  return li;
}

// Shows where an alert stands, and what can be done about it.
function showCase(li, now) {
  const last = now.changes?.at(-1);
  const by = last ? ` by ${last.by.who}, ${clock(last.by.at)}` : "";
  const note = last?.by.note ? `: ${last.by.note}` : "";
  const parts = [];
  // The buttons say that an alert is open.
  if (last || !mayControl()) parts.push(element("span", `state ${now.state}`, now.state + by + note));
  if (mayControl() && now.state === "open") parts.push(stepButton(li, "acknowledge", "Acknowledge"));
  if (mayControl() && now.state !== "resolved") parts.push(stepButton(li, "resolve", "Resolve"));
  const why = element("button", "", "Why");
  why.type = "button";
  why.title = "how this alert was decided on, and who has it";
  why.setAttribute("aria-expanded", Boolean(li.querySelector("ul.why")));
  why.addEventListener("click", () => explain(li, why));
  parts.push(why);
  if (mayControlAll() && now.state !== "resolved") parts.push(silenceButton(alerts.get(li)));
  li.classList.toggle("done", now.state === "resolved");
  li.querySelector(".case").replaceChildren(...parts);
}

const path = (id, rest) => `/api/v1/alerts/${encodeURIComponent(id)}/${rest}`;

function stepButton(li, step, text) {
  const options = { method: "POST", headers: JSON_BODY, body: "{}" };
  return action(text, () => [path(li.dataset.id, step), options], (answer) => showCase(li, answer.case));
}

const quoted = (text) => `"${text.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n")}"`;

// Silences the rule on this source for an hour. The page lists the silence, where it can be ended.
function silenceButton({ id, level, rule, source }) {
  const matchers = [`source=${quoted(source)}`, `rule=${quoted(rule)}`];
  // A critical alert is silenced only where the level is named.
  if (level === "critical") matchers.push('level="critical"');
  const body = JSON.stringify({ matchers, duration: "1h", comment: `at alert ${id}` });
  const send = () => ["/api/v1/silences", { method: "POST", headers: JSON_BODY, body }];
  const button = action("Silence 1 h", send, () => button.replaceWith("silenced for an hour"));
  button.title = `nobody is told of ${rule} at ${source} for an hour; the silence is listed above and can be ended there`;
  return button;
}

// Shows how an alert was decided on below it, or hides it again.
async function explain(li, button) {
  const shown = li.querySelector("ul.why");
  button.setAttribute("aria-expanded", !shown);
  if (shown) return shown.remove();
  button.disabled = true;
  let lines;
  try {
    lines = (await (await ask(path(li.dataset.id, "explain"))).json()).lines;
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
  link.href = path(alert.id, "picture.jpg");
  link.target = "_blank";
  const image = element("img");
  image.loading = "lazy";
  image.alt = `what ${alert.source} showed`;
  image.addEventListener("error", () => link.remove());
  image.src = link.href;
  link.append(image);
  return link;
}
