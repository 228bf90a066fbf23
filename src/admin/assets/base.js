// What all parts of the page use. External text (names, messages, labels) is only ever set as textContent.
export const $ = (id) => document.getElementById(id);
export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export function element(tag, classes = "", text = "") {
  const node = document.createElement(tag);
  node.className = classes;
  node.textContent = text;
  return node;
}

// Sets a text that changed only, so that a selection stays and nothing is announced twice.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Fills a <details> that opens only if there is something to read in it. Its rows are a number, what it counts, and why.
export function explained(details, text, rows) {
  setText(details.querySelector("summary"), text);
  details.classList.toggle("bare", rows.length === 0);
  const shown = JSON.stringify(rows);
  if (details.dataset.shown === shown) return;
  details.dataset.shown = shown;
  const items = rows.flatMap(([n, what, why]) => [element("dt", "", `${n} ${what}`), element("dd", "", why)]);
  details.querySelector("dl").replaceChildren(...items);
}

// The local time, with the date if it is not today.
export function clock(text) {
  const time = new Date(text);
  const day = time.toDateString() === new Date().toDateString() ? "" : `${time.toLocaleDateString()} `;
  return day + time.toLocaleTimeString();
}

// A length of time in its two largest units.
export function duration(seconds) {
  const s = Math.round(seconds);
  const [m, h, d] = [Math.floor(s / 60), Math.floor(s / 3600), Math.floor(s / 86400)];
  if (d) return `${d} d ${h % 24} h`;
  if (h) return `${h} h ${m % 60} min`;
  return m ? `${m} min ${s % 60} s` : `${s} s`;
}

export class Locked extends Error {}

// Fetches from the engine. A refusal is an error with the sentence of the answer.
export async function ask(path, options = {}) {
  const response = await fetch(path, options);
  if (response.status === 401) throw new Locked("a token is needed");
  if (response.ok) return response;
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    // Not an answer of the API: as it is.
  }
  throw new Error(answer?.message ?? (text || `the engine answers ${response.status}`));
}

const session = { control: false, all: false };

// What the token may do: change anything, and that for all sources.
export async function readSession() {
  const { scopes, sources } = await (await ask("/api/v1/session")).json();
  session.control = scopes.includes("control");
  session.all = !sources;
}

export const mayControl = () => session.control;
export const mayControlAll = () => session.control && session.all;

// A button that sends one request. While it is on its way the button is off; why it was refused is said beside it.
export function action(text, send, done) {
  const button = element("button", "", text);
  button.type = "button";
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      done(await (await ask(...send())).json());
    } catch (error) {
      const message = error instanceof TypeError ? "the engine does not answer" : error.message;
      // A change by somebody else may have replaced the button meanwhile.
      button.parentElement?.querySelector(".error")?.remove();
      button.parentElement?.append(Object.assign(element("span", "error", message), { role: "alert" }));
    }
    button.disabled = false;
  });
  return button;
}
