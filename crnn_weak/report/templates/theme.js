(() => {
"use strict";

// --- color scheme: as the system, light, dark ---------------------------------------------------------------------
const root = document.documentElement;
const themeButton = document.getElementById("theme");
const THEMES = [["", "Auto", "as the system"], ["light", "Light", "light"], ["dark", "Dark", "dark"]];

function stored(value) {
  try {
    if (value === undefined) return localStorage.getItem("crnn-weak-theme") || "";
    localStorage.setItem("crnn-weak-theme", value);
  } catch (error) { /* a browser may forbid storage to a file */ }
  return value || "";
}

function setTheme(name) {
  const theme = THEMES.find((entry) => entry[0] === name) || THEMES[0];
  if (theme[0]) root.dataset.theme = theme[0]; else delete root.dataset.theme;
  themeButton.textContent = theme[1];
  themeButton.setAttribute("aria-label", "Color scheme: " + theme[2]);
  return theme[0];
}

let theme = setTheme(stored());
themeButton.addEventListener("click", () => {
  const index = THEMES.findIndex((entry) => entry[0] === theme);
  theme = setTheme(THEMES[(index + 1) % THEMES.length][0]);
  stored(theme);
});
})();
