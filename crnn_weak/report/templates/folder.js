(() => {
"use strict";

const content = JSON.parse(document.getElementById("content").textContent);
const CLASSES = content.classes;
const PAGE = 250, LANE = 22, MOST_EVENTS = 200;
const body = document.getElementById("rows");

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function clock(hundredths) {
  const seconds = hundredths / 100, whole = Math.floor(seconds);
  const two = (number) => String(number).padStart(2, "0");
  if (seconds < 60) return seconds.toFixed(1) + " s";
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return (hours ? hours + ":" + two(minutes) : minutes) + ":" + two(whole % 60);
}

const recordings = content.recordings.map((record, index) => {
  let active = 0;
  for (let k = 1; k < record.events.length; k += 4) active += record.events[k];
  return { ...record, index, count: record.events.length / 4, active };
});

// --- drawings: a canvas gets its pixels when it comes into sight ------------------------------------------------------
function sharp(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || 300;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return [pen, width];
}

function bars(pen, record, width, place) {
  for (let k = 0; k < record.events.length; k += 4) {
    const [onset, length, label] = record.events.slice(k, k + 3);
    const [top, height] = place(label);
    pen.fillStyle = CLASSES[label].color;
    pen.fillRect(width * onset / record.length, top, Math.max(1, width * length / record.length), height);
  }
}

function drawTimeline(canvas, record) {
  const [pen, width] = sharp(canvas, 20);
  const labels = [...new Set(record.events.filter((_, k) => k % 4 === 2))].sort((a, b) => a - b);
  const height = 20 / Math.max(labels.length, 1);
  bars(pen, record, width, (label) => [labels.indexOf(label) * height, Math.max(height - 1, 1)]);
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    drawTimeline(entry.target, recordings[entry.target.dataset.index]);
  }
}, { rootMargin: "300px" });

// --- one recording, opened --------------------------------------------------------------------------------------------
function lanesOf(record, player) {
  const labels = [...new Set(record.events.filter((_, k) => k % 4 === 2))].sort((a, b) => a - b);
  const canvas = element("canvas", { "aria-hidden": "true", height: labels.length * LANE });
  const cursor = element("i", { class: "cursor" });
  const stage = element("div", { class: "stage" }, canvas, cursor);
  const names = element("div", { class: "labels" }, ...labels.map((label) => element("span", {}, CLASSES[label].name)));
  stage.addEventListener("pointerdown", (event) => {
    const box = stage.getBoundingClientRect();
    if (player) { player.currentTime = (record.length / 100) * (event.clientX - box.left) / box.width; player.play(); }
  });
  if (player) player.addEventListener("timeupdate", () => {
    cursor.style.left = (10000 * player.currentTime / record.length).toFixed(2) + "%";
  });
  const draw = (picture) => {
    canvas.style.height = labels.length * LANE + "px";
    const [pen, width] = sharp(canvas, labels.length * LANE);
    labels.forEach((label, row) => {
      pen.fillStyle = row % 2 ? "#00000010" : "#00000020";
      pen.fillRect(0, row * LANE, width, LANE);
    });
    if (picture) {
      pen.globalAlpha = 0.35;
      pen.imageSmoothingEnabled = false;
      record.rows.forEach((label, row) => {
        pen.drawImage(picture, 0, row, picture.width, 1, 0, labels.indexOf(label) * LANE, width, LANE);
      });
      pen.globalAlpha = 1;
    }
    bars(pen, record, width, (label) => [labels.indexOf(label) * LANE + 6, LANE - 12]);
  };
  requestAnimationFrame(() => {
    draw();
    if (!record.picture) return;
    const picture = new Image();
    picture.addEventListener("load", () => draw(picture));
    picture.src = "data:image/png;base64," + record.picture;
  });
  return element("div", { class: "lanes" }, names, stage);
}

function eventsOf(record, player) {
  const rows = [];
  for (let k = 0; k < Math.min(record.events.length, 4 * MOST_EVENTS); k += 4) {
    const [onset, length, label, score] = record.events.slice(k, k + 4);
    const jump = element("button", { type: "button" }, clock(onset) + " – " + clock(onset + length));
    jump.addEventListener("click", () => { if (player) { player.currentTime = onset / 100; player.play(); } });
    const dot = element("i", { class: "dot" });
    dot.style.background = CLASSES[label].color;
    rows.push(element("tr", {}, element("td", {}, jump), element("td", { class: "left" }, dot, CLASSES[label].name),
      element("td", {}, score < 0 ? "" : (score / 100).toFixed(2))));
  }
  const head = element("tr", {}, ...["time", "class", "score"].map((text) => element("th", { scope: "col", class: "left" }, text)));
  const table = element("table", { class: "events" }, element("thead", {}, head), element("tbody", {}, ...rows));
  const over = record.count - rows.length;
  return [element("div", { class: "list", tabindex: "0" }, table), ...(over > 0 ? [element("p", { class: "fine" }, over.toLocaleString("en") + " later events are in the event list only.")] : [])];
}

function detail(record) {
  const cell = element("td", { colspan: 5 });
  let player = null;
  if (record.link && !record.error) {
    player = element("audio", { controls: "", preload: "none", src: record.link, "aria-label": "Play " + record.name });
    const note = element("p", { class: "fine", hidden: "" }, "The recording is not there, or the browser cannot play its format.");
    player.addEventListener("error", () => { note.hidden = false; });
    cell.append(player, note);
  }
  if (record.count) cell.append(lanesOf(record, player), ...eventsOf(record, player));
  else cell.append(element("p", { class: "fine" }, record.error || "No events."));
  return element("tr", { class: "detail" }, cell);
}

// --- the table --------------------------------------------------------------------------------------------------------
function rowOf(record) {
  const open = element("button", { type: "button", class: "open", "aria-expanded": "false" }, record.name);
  const first = element("th", { scope: "row", class: "left" }, open);
  if (record.start) first.append(element("span", { class: "when" }, record.start));
  if (record.error) first.append(element("span", { class: "failure" }, record.error));
  const canvas = element("canvas", { class: "timeline", "data-index": record.index, "aria-hidden": "true" });
  const row = element("tr", {}, first, element("td", {}, clock(record.length)), element("td", {}, record.count.toLocaleString("en")),
    element("td", {}, (record.active / 100).toFixed(1)), element("td", {}, canvas));
  open.addEventListener("click", () => {
    const closed = open.getAttribute("aria-expanded") === "false";
    open.setAttribute("aria-expanded", String(closed));
    if (closed) row.after(detail(record)); else row.nextSibling.remove();
  });
  seen.observe(canvas);
  return row;
}

const state = { key: "", descending: false, name: "", label: "", shown: PAGE };

function show() {
  const wanted = recordings.filter((record) => record.name.toLowerCase().includes(state.name)
    && (!state.label || record.events.some((value, k) => k % 4 === 2 && value === Number(state.label))));
  if (state.key) {
    const sign = state.descending ? -1 : 1;
    wanted.sort((a, b) => sign * (state.key === "name" ? a.name.localeCompare(b.name, "en", { numeric: true }) : a[state.key] - b[state.key]));
  }
  seen.disconnect();
  body.replaceChildren(...wanted.slice(0, state.shown).map(rowOf));
  document.getElementById("more").hidden = wanted.length <= state.shown;
  const count = wanted.length.toLocaleString("en") + " of " + recordings.length.toLocaleString("en") + " recordings";
  document.getElementById("count").textContent = count + (wanted.length > state.shown ? ", the first " + state.shown + " shown" : "");
}

for (const button of document.querySelectorAll("[data-sort]")) {
  button.addEventListener("click", () => {
    const key = button.dataset.sort;
    state.descending = state.key === key ? !state.descending : key !== "name";
    state.key = key;
    for (const other of document.querySelectorAll("[data-sort]")) {
      other.parentElement.setAttribute("aria-sort", other !== button ? "none" : state.descending ? "descending" : "ascending");
    }
    show();
  });
}
document.getElementById("name").addEventListener("input", (event) => { state.name = event.target.value.toLowerCase(); state.shown = PAGE; show(); });
document.getElementById("class").append(...CLASSES.map((one, index) => element("option", { value: index }, one.name)));
document.getElementById("class").addEventListener("change", (event) => { state.label = event.target.value; state.shown = PAGE; show(); });
document.getElementById("more").addEventListener("click", () => { state.shown += 4 * PAGE; show(); });
show();
})();
