// Starting, changing and stopping a run, by Locust's own routes and ours.
"use strict";

let foldedFor = null; // the run whose page has the form folded
let formShown = ""; // what the start form was made of

function drawForm({ form, run, on, preparing, users_can_change, rate_can_change, users, state }) {
  const stopping = state.startsWith("stopping");
  $("empty").hidden = Boolean(run);
  $("start").hidden = !form;
  // Of a run that has ended the report comes first; once folded it is the reader's to open.
  if (run && run.run !== foldedFor) {
    foldedFor = run.run;
    $("start-fold").open = false;
  }
  $("stop").hidden = !on;
  $("stop").disabled = stopping;
  $("start-button").disabled = preparing;
  $("tpm").hidden = !on || stopping || !rate_can_change;
  $("users").hidden = !on || stopping || !users_can_change;
  $("change").hidden = $("tpm").hidden && $("users").hidden;
  if (document.activeElement !== $("user-count") && users != null) $("user-count").value = users;
  const made = JSON.stringify(form);
  if (!form || made === formShown) return;
  formShown = made;
  $("start-main").replaceChildren(...form.filter((field) => field.main).map(fieldRow));
  $("start-more").replaceChildren(...form.filter((field) => !field.main).map(fieldRow));
}

function fieldRow(field) {
  const row = element("label"), name = element("span", field.label), help = element("small", field.help);
  const input = document.createElement(field.choices.length ? "select" : "input");
  input.name = field.name;
  if (field.choices.length) {
    input.append(...field.choices.map((choice) => {
      const option = element("option", choice);
      option.value = choice;
      return option;
    }));
  }
  if (field.kind === "check") {
    input.type = "checkbox";
    input.checked = field.value === "true";
  } else {
    input.value = field.value;
    input.autocomplete = "off";
    if (field.kind === "number") input.inputMode = "decimal";
    if (field.empty) [input.dataset.empty, input.dataset.emptyWithTpm] = field.empty;
  }
  row.append(name, input, help);
  return row;
}

function told(note, text, good) {
  note.textContent = text;
  note.className = good ? "" : "bad";
}

// Locust answers {"success", "message"}, our own route {"message"} or {"error"}.
async function send(url, body, note) {
  try {
    const response = await fetch(url, { method: "POST", ...body });
    const answer = await response.json();
    const good = response.ok && answer.success !== false;
    told(note, answer.message ?? answer.error ?? "", good);
    if (good) poll();
    return good;
  } catch (error) {
    told(note, `Not done: ${error.message}`, false);
    return false;
  }
}

async function start(event) {
  event.preventDefault();
  const fields = new FormData();
  const withTpm = Boolean($("start").elements.tpm?.value.trim());
  for (const input of $("start").elements) {
    if (!input.name) continue;
    const empty = input.dataset[withTpm ? "emptyWithTpm" : "empty"] ?? "";
    fields.append(input.name, input.type === "checkbox" ? String(input.checked) : input.value.trim() || empty);
  }
  $("start-button").disabled = true;
  told($("start-note"), "Preparing: the endpoint is asked, prompts are made…", true);
  if (await send("../swarm", { body: fields }, $("start-note"))) told($("start-note"), "", true);
  else $("start-button").disabled = false;
}

function changeTpm(event) {
  event.preventDefault();
  const body = JSON.stringify({ tpm: $("rate").value });
  send("tpm", { headers: { "Content-Type": "application/json" }, body }, $("tpm-note"));
}

function changeUsers(event) {
  event.preventDefault();
  const fields = new FormData();
  fields.append("user_count", $("user-count").value);
  fields.append("spawn_rate", $("spawn-rate").value);
  send("../swarm", { body: fields }, $("users-note")).then((good) => {
    if (good) told($("users-note"), `${$("user-count").value} developers, as they come and go.`, true);
  });
}

$("start").addEventListener("submit", start);
$("tpm").addEventListener("submit", changeTpm);
$("users").addEventListener("submit", changeUsers);
$("stop").addEventListener("click", () => {
  if (confirm("Stop the run? Turns under way may end, then the report is written.")) send("../stop", {}, $("stop-note"));
});
