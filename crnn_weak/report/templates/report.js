(() => {
"use strict";

// --- clips ---------------------------------------------------------------------------------------------------------
const players = [];

class Player {
  constructor(card) {
    this.card = card;
    this.duration = Number(card.dataset.duration);
    this.audio = card.querySelector("audio");
    this.button = card.querySelector(".play");
    this.slider = card.querySelector(".slider");
    this.cursor = card.querySelector(".cursor");
    this.clock = card.querySelector(".time");
    this.which = card.querySelector(".which");
    this.shown = { strong: false, weak: false };
    this.place = 0;
    this.frame = 0;
    if (this.audio) {
      this.button.addEventListener("click", () => this.toggle());
      this.audio.addEventListener("play", () => this.running(true));
      this.audio.addEventListener("pause", () => this.running(false));
      this.audio.addEventListener("ended", () => this.running(false));
    }
    this.slider.addEventListener("pointerdown", (event) => this.drag(event));
    this.slider.addEventListener("pointermove", (event) => { if (event.buttons & 1) this.drag(event); });
    this.slider.addEventListener("keydown", (event) => this.key(event));
    for (const toggle of card.querySelectorAll("[data-output]")) {
      toggle.addEventListener("click", () => this.overlay(toggle.dataset.output));
    }
    if (this.which) this.which.addEventListener("change", () => this.paint());
  }

  toggle() {
    if (!this.audio) return;
    if (this.audio.paused) {
      for (const other of players) if (other !== this && other.audio) other.audio.pause();
      if (this.place >= this.duration - 0.05) this.seek(0);
      const promise = this.audio.play();
      if (promise) promise.catch(() => this.running(false));
    } else {
      this.audio.pause();
    }
  }

  running(on) {
    this.card.classList.toggle("playing", on);
    this.button.setAttribute("aria-label", this.button.getAttribute("aria-label").replace(/^\w+/, on ? "Pause" : "Play"));
    cancelAnimationFrame(this.frame);
    if (on) {
      const step = () => {
        this.show(this.audio.currentTime);
        this.frame = requestAnimationFrame(step);
      };
      step();
    } else {
      this.show(this.audio.currentTime);
      this.announce();
    }
  }

  seek(seconds) {
    const place = Math.min(Math.max(seconds, 0), this.duration);
    if (this.audio) this.audio.currentTime = place;
    this.show(place);
    this.announce();
  }

  show(seconds) {
    this.place = Math.min(seconds, this.duration);
    this.cursor.style.left = (100 * this.place / this.duration).toFixed(3) + "%";
    this.clock.textContent = this.place.toFixed(1);
  }

  announce() {
    this.slider.setAttribute("aria-valuenow", this.place.toFixed(2));
    this.slider.setAttribute("aria-valuetext", this.place.toFixed(1) + " of " + this.duration.toFixed(1) + " seconds");
  }

  drag(event) {
    if (event.button > 0) return;
    const box = this.slider.getBoundingClientRect();
    this.slider.setPointerCapture(event.pointerId);
    this.seek(this.duration * (event.clientX - box.left) / box.width);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 0.1 : 0.5;
    const moves = { ArrowRight: step, ArrowUp: step, ArrowLeft: -step, ArrowDown: -step, PageUp: 2, PageDown: -2 };
    if (event.key in moves) this.seek(this.place + moves[event.key]);
    else if (event.key === "Home") this.seek(0);
    else if (event.key === "End") this.seek(this.duration);
    else if (event.key === " " || event.key === "Enter") this.toggle();
    else return;
    event.preventDefault();
  }

  overlay(output, on) {
    this.shown[output] = on === undefined ? !this.shown[output] : on;
    this.paint();
  }

  paint() {
    const index = this.which ? this.which.value : "0";
    for (const image of this.card.querySelectorAll(".overlay")) {
      const output = image.classList.contains("strong") ? "strong" : "weak";
      image.hidden = !(this.shown[output] && image.dataset.index === index);
    }
    for (const toggle of this.card.querySelectorAll("[data-output]")) {
      toggle.setAttribute("aria-pressed", String(this.shown[toggle.dataset.output]));
    }
    this.card.classList.toggle("overlaid", this.shown.strong || this.shown.weak);
  }
}

for (const card of document.querySelectorAll(".clip")) players.push(new Player(card));

for (const toggle of document.querySelectorAll("[data-all]")) {
  toggle.addEventListener("click", () => {
    const on = toggle.getAttribute("aria-pressed") !== "true";
    toggle.setAttribute("aria-pressed", String(on));
    for (const player of players) player.overlay(toggle.dataset.all, on);
  });
}

// Single letters act on the clip that holds the focus, or on the one in sight.
function current() {
  const held = players.findIndex((player) => player.card.contains(document.activeElement));
  if (held >= 0) return held;
  const middle = innerHeight / 2;
  return players.findIndex((player) => {
    const box = player.card.getBoundingClientRect();
    return box.top < middle && box.bottom > middle;
  });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !players.length) return;
  if (event.target.closest("input, select, textarea")) return;
  const at = current();
  const letter = event.key.toLowerCase();
  if ((letter === "s" || letter === "w") && at >= 0) {
    players[at].overlay(letter === "s" ? "strong" : "weak");
  } else if ((letter === "j" || letter === "k") && (at >= 0 || letter === "j")) {
    const next = players[Math.min(Math.max(at + (letter === "j" ? 1 : -1), 0), players.length - 1)];
    next.card.scrollIntoView({ block: "center" });
    next.slider.focus({ preventScroll: true });
  } else {
    return;
  }
  event.preventDefault();
});
})();
