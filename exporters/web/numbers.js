// Numbers for people, as the report writes them. Unknown is "-".
"use strict";

const UNKNOWN = "-";
const text = (format) => (value) => (value == null || Number.isNaN(value) ? UNKNOWN : format(value));
const whole = text((v) => Math.round(v).toLocaleString("en"));
const percent = text((v) => `${Math.round(v * 100)}%`);
const three = text((v) => (v < 9.995 ? String(+v.toFixed(2)) : v < 99.95 ? String(+v.toFixed(1)) : whole(v)));
const tokens = text((v) => {
  if (v >= 999500) return `${+(v / 1e6).toFixed(2)}M`;
  return v >= 1000 ? `${Math.round(v / 1e3)}k` : String(Math.round(v));
});
const clock = text((v) => {
  const s = Math.round(v), two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600), minutes = Math.floor(s / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`;
});

// ---- the document -------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);

function element(name, content = "") {
  const made = document.createElement(name);
  made.textContent = content;
  return made;
}

// What the page knows of the run that it shows.
let known = { run: null };
