// The page works without scripts. This script keeps it live: an event stream of changes, and forms without page loads.

const MAX_POINTS = 300; // per chart
const SILENCE_MS = 10_000; // without an event, after which the connection counts as dead: there is a tick each second
const RECONNECT_MS = 1_500; // before connecting again if the browser does not do so itself

const age = document.getElementById("age");
let lastEventId = age.dataset.lastEventId; // of the last tick
let receivedAt = performance.now();
let source = null;

function connect() {
  source?.close();
  source = new EventSource(`/feed?last_event_id=${encodeURIComponent(lastEventId)}`);
  for (const kind of ["snapshot", "delta"]) {
    source.addEventListener(kind, (event) => apply(event.lastEventId, JSON.parse(event.data)));
  }
  source.addEventListener("error", () => {
    showAge(true);
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RECONNECT_MS);
  });
}

function apply(id, update) {
  lastEventId = id;
  receivedAt = performance.now();
  for (const [name, html] of Object.entries(update.panels)) {
    const panel = document.getElementById(`panel-${name}`);
    if (panel) Idiomorph.morph(panel, html, { morphStyle: "innerHTML" });
  }
  charts.append(update.points, update.whole);
  showAge(false);
  document.dispatchEvent(new CustomEvent("valerix:update", { detail: { id, whole: update.whole, points: update.points } }));
}

function showAge(isBroken) {
  const seconds = Math.round((performance.now() - receivedAt) / 1000);
  const isStale = isBroken || seconds > 3;
  const text = isStale ? `Reconnecting. This is ${seconds} s old.` : "Live";
  if (age.textContent !== text) age.textContent = text;
  age.classList.toggle("stale", isStale);
}

setInterval(() => {
  showAge(source.readyState !== EventSource.OPEN);
  if (performance.now() - receivedAt > SILENCE_MS && source.readyState === EventSource.OPEN) connect();
}, 1000);

// Charts: columns are the time, the average and percentiles in seconds, orders a second by status, and the queue.

const charts = {
  columns: Array.from({ length: 9 }, () => []),
  drawn: [],

  append(points, isWhole) {
    if (isWhole) for (const column of this.columns) column.length = 0;
    for (const point of points) this.columns.forEach((column, index) => column.push(point[index]));
    for (const column of this.columns) if (column.length > MAX_POINTS) column.splice(0, column.length - MAX_POINTS);
    for (const { plot, pick } of this.drawn) plot.setData(pick(this.columns));
  },

  draw() {
    for (const { plot } of this.drawn) plot.destroy();
    const c = colours();
    this.drawn = [
      chart("chart-times", "Seconds to answer", (k) => [k[0], ...k.slice(1, 5), k[0].map(() => 1)], [
        { label: "30 s average", stroke: c("average"), width: 2 },
        { label: "p50", stroke: c("p50") },
        { label: "p95", stroke: c("p95"), dash: [6, 3] },
        { label: "p99", stroke: c("p99"), dash: [2, 3] },
        { label: "limit", stroke: c("bad"), dash: [10, 6] },
      ], c),
      chart("chart-volume", "Orders a second", (k) => [k[0], ...k.slice(5, 8)], [
        { label: "confirmed", stroke: c("good"), width: 2 },
        { label: "queued", stroke: c("warn"), dash: [6, 3] },
        { label: "failed", stroke: c("bad"), dash: [2, 3] },
      ], c),
      chart("chart-queue", "Orders that wait", (k) => [k[0], k[8]], [
        { label: "waiting", stroke: c("warn"), fill: c("warn-ground"), width: 2 },
      ], c),
    ].filter(Boolean);
    this.append([], false);
  },
};

function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

function chart(id, title, pick, series, colour) {
  const place = document.getElementById(id);
  if (!place || typeof uPlot === "undefined") return null;
  const clock = (_, times) => times.map((time) => new Date(time * 1000).toLocaleTimeString([], { hour12: false }));
  const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") } };
  const plot = new uPlot({
    title, width: place.clientWidth || 300, height: Number(place.dataset.height),
    cursor: { show: false }, legend: { live: false },
    scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 0.01)] } },
    axes: [{ ...axis, values: clock, space: 80 }, { ...axis, size: 48 }],
    series: [{}, ...series.map((one) => ({ points: { show: false }, spanGaps: false, ...one }))],
  }, pick(charts.columns), place);
  return { plot, pick, place };
}

new ResizeObserver(() => {
  for (const { plot, place } of charts.drawn) {
    if (place.clientWidth && place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height: plot.height });
  }
}).observe(document.querySelector(".cards"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.draw());

// Forms

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if ("plain" in form.dataset) return;
  event.preventDefault();
  const button = event.submitter;
  const body = new URLSearchParams(new FormData(form, button));
  const label = button?.textContent;
  if (button) {
    button.setAttribute("aria-disabled", "true");
    if (button.dataset.busy) button.textContent = button.dataset.busy;
  }
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
    if (answer.status === 401) location.assign("/sign-in");
    else await show(answer, form.dataset.fragment);
  } catch {
    notice("bad", "The dashboard does not respond. Whether the action was done is unknown.");
  } finally {
    if (button) {
      button.removeAttribute("aria-disabled");
      button.textContent = label;
    }
  }
});

async function show(answer, fragment) {
  if (fragment && answer.headers.get("content-type").startsWith("text/html")) {
    notice();
    Idiomorph.morph(document.getElementById(fragment), await answer.text(), { morphStyle: "innerHTML" });
    return;
  }
  const result = await answer.json();
  if (result.message) notice(result.kind, result.message);
  else notice("bad", `${result.title}. ${result.detail}`);
}

function notice(kind, message) {
  const place = document.getElementById("notices");
  place.replaceChildren();
  if (!message) return;
  const line = document.createElement("p");
  line.className = `notice ${kind}`;
  line.textContent = message;
  place.append(line);
}

charts.draw();
connect();
