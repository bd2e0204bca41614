// Everything here can be done without it as well, page by page. It adds keys, lists that grow as one
// scrolls, ticking by dragging, and forms that leave ticks, text and place as they are.
import { stillHere, watch } from "./watch.js";
import { grow } from "./lists.js";
import { pick } from "./select.js";
import { look } from "./photo.js";
import { sending, submitted } from "./send.js";

document.documentElement.classList.add("js");
document.addEventListener("submit", submitted);
stillHere();
watch();
pick();
look();
grow();

const typing = (target) => target.matches?.("input:not([type=checkbox]), select, textarea");

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented) return;
  if (typing(event.target) || sending()) return;
  const key = event.key.toLowerCase();
  const within = document.querySelector("dialog[open]") ?? document;
  const control = within.querySelector(`[data-key="${CSS.escape(key)}"]:not(:disabled)`);
  if (!control) return;
  event.preventDefault();
  control.click();
});

// A name is kept when one leaves the field; an emptied field gets its name back.
document.addEventListener("focusout", (event) => {
  const field = event.target;
  if (!field.matches?.(".hush") || field.value === field.defaultValue || sending()) return;
  if (event.relatedTarget?.form === field.form) return;
  if (field.value.trim()) field.form.requestSubmit();
  else field.value = field.defaultValue;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !event.target.matches?.("main input")) return;
  if (event.target.matches(".hush")) event.target.value = event.target.defaultValue;
  event.target.blur();
});

// Filters show their list as soon as they are changed.
document.addEventListener("change", (event) => {
  const form = event.target.form;
  if (form?.matches("[data-auto]") && event.target.matches("select, [type=checkbox], [type=number]")) form.requestSubmit();
});

const holdsFile = (event) => [...event.dataTransfer.types].includes("Files");
const drop = () => document.getElementById("drop");
document.addEventListener("dragover", (event) => {
  if (!drop() || !holdsFile(event)) return;
  event.preventDefault();
  drop().classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) drop()?.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  if (!drop() || !holdsFile(event)) return;
  event.preventDefault();
  drop().querySelector("input[type=file]").files = event.dataTransfer.files;
  drop().requestSubmit();
});
