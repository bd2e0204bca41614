// Sends forms without leaving the page. Whatever the answer is, nothing that was ticked or typed is lost.
import { freshen, hasLists } from "./lists.js";
import { picked, settle } from "./select.js";
import { changedSince } from "./watch.js";

const SHOWN_MS = 15000, SLOW_MS = 1500, KEPT_ALIVE = 60000;
const status = document.getElementById("status");
let busy = false;

export const sending = () => busy;

export function say(toast) {
  const box = document.importNode(toast, true);
  status.replaceChildren(box);
  let timer;
  const hold = () => clearTimeout(timer);
  const let_go = () => { hold(); timer = setTimeout(() => box.remove(), SHOWN_MS); };
  box.addEventListener("pointerenter", hold);
  box.addEventListener("focusin", hold);
  box.addEventListener("pointerleave", let_go);
  box.addEventListener("focusout", let_go);
  let_go();
  return box;
}

export function tell(text, wrong = false, button = null) {
  const box = document.createElement("div");
  box.className = wrong ? "toast wrong" : "toast";
  const words = document.createElement("p");
  words.textContent = text;
  box.append(words);
  const shown = say(box);
  if (button) {
    const act = document.createElement("button");
    act.textContent = button.text;
    act.addEventListener("click", () => { act.closest(".toast").remove(); button.act(); });
    shown.append(act);
  }
  return shown;
}

export const parsed = async (response) =>
  new DOMParser().parseFromString(await response.text(), "text/html");

const target = (form, submitter) =>
  submitter?.hasAttribute("formaction") ? submitter.formAction : form.getAttribute("action");

export function submitted(event) {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  event.preventDefault();
  if (!busy) send(form, event.submitter);
}

async function send(form, submitter) {
  busy = true;
  let waits = null;
  const slow = setTimeout(() => { waits = tell("Working; the first time takes a while ..."); }, SLOW_MS);
  document.getElementById("main").classList.add("busy");
  try {
    let answer = await post(form, submitter);
    if (answer.status === 403 && await renewed()) answer = await post(form, submitter);
    await taken(form, answer);
  } catch {
    tell("The server does not answer. Nothing was changed, and what you ticked and typed is still here.", true);
  } finally {
    clearTimeout(slow);
    waits?.remove();
    busy = false;
    document.getElementById("main").classList.remove("busy");
  }
}

function post(form, submitter) {
  const fields = new FormData(form, submitter);
  const body = form.enctype === "multipart/form-data" ? fields : new URLSearchParams(fields);
  // A name that is kept because one leaves its field is sent even if the page is left as well.
  const keepalive = body instanceof URLSearchParams && body.toString().length < KEPT_ALIVE;
  return fetch(target(form, submitter), { method: "POST", body, keepalive });
}

// After a restart of the server the secret in our forms is old: take the new one, if we may.
async function renewed() {
  const page = await parsed(await fetch(location.href));
  const fresh = page.querySelector("input[name=csrf]")?.value;
  const stale = [...document.querySelectorAll("input[name=csrf]")].filter((one) => one.value !== fresh);
  if (!fresh || !stale.length) return false;
  stale.forEach((one) => { one.value = fresh; });
  return true;
}

async function taken(form, answer) {
  const page = await parsed(answer);
  if (!answer.ok && !answer.redirected) {
    const why = page.querySelector("#main .bad, main p")?.textContent ?? `Refused (${answer.status})`;
    const others = await changedSince();
    return tell(others.length ? `${why} Meanwhile: ${others.join("; ")}.` : why, true);
  }
  if (!answer.redirected) return "page" in form.dataset ? show(page) : ask(page);
  const there = new URL(answer.url);
  if (there.pathname !== location.pathname || !answer.ok) return location.assign(there);
  form.closest("dialog")?.close();
  document.querySelectorAll("main .acts input:not([type=hidden]):not([type=checkbox])").forEach((input) => { input.value = input.defaultValue; });
  settle();
  there.searchParams.delete("message");
  if (!hasLists()) history.replaceState(null, "", there);
  show(page);
}

// Replace what the page shows; lists keep their place.
export function show(page) {
  const [main, fresh] = [document.getElementById("main"), page.getElementById("main")];
  const held = document.activeElement?.closest?.("[id]")?.id;
  main.dataset.version = fresh.dataset.version;
  if (hasLists() && fresh.querySelector("[data-chunks]")) {
    for (const part of main.querySelectorAll("[data-part]")) {
      const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
      if (other) part.replaceWith(document.importNode(other, true));
    }
    freshen();
  } else {
    main.replaceChildren(...document.importNode(fresh, true).childNodes);
    document.dispatchEvent(new CustomEvent("shown"));
  }
  document.title = page.title;
  const toast = page.querySelector("#status .toast");
  if (toast) say(toast);
  if (held && !document.activeElement?.closest("main")) (document.getElementById(held) ?? main).focus({ preventScroll: true });
}

// A question before anything is done, above the page, so that ticks stay.
function ask(page) {
  document.querySelector("dialog[data-asked]")?.remove();
  const dialog = document.createElement("dialog");
  dialog.dataset.asked = "";
  dialog.append(...document.importNode(page.getElementById("main"), true).childNodes);
  const title = dialog.querySelector("h1");
  if (title) { title.id = "asked"; dialog.setAttribute("aria-labelledby", "asked"); }
  dialog.addEventListener("click", (event) => {
    if (event.target.closest("a[data-back]")) { event.preventDefault(); dialog.close(); }
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

export const unsaved = () => picked.size > 0 || document.querySelector("dialog[open]") !== null
  || [...document.querySelectorAll("main form[method=post] input:not([type=hidden]):not([type=checkbox])")]
    .some((input) => input.value !== input.defaultValue);
