// Keys, a spoken status, and dropping pictures: everything here can be done without it as well.

const status = document.getElementById("status");
const words = status.querySelector("p");
if (words) {
  // A live region is read out when it changes, not when a page comes with it.
  const text = words.textContent;
  words.textContent = "";
  setTimeout(() => { words.textContent = text; }, 100);
}

const typing = (target) => target.matches("input:not([type=checkbox]), select, textarea");

let answered = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || typing(event.target)) return;
  if (answered) return;
  const key = event.key.toLowerCase();
  const control = document.querySelector(`[data-key="${CSS.escape(key)}"]:not(:disabled)`);
  if (!control) return;
  event.preventDefault();
  answered = true;
  control.click();
});
// A page that the browser kept while another was shown takes keys again.
window.addEventListener("pageshow", () => { answered = false; });

const drop = document.getElementById("drop");
if (drop) {
  const holdsFile = (event) => [...event.dataTransfer.types].includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    drop.querySelector("input[type=file]").files = event.dataTransfer.files;
    drop.requestSubmit();
  });
}

// Shift and a click ticks everything between two boxes.
let last = null;
document.addEventListener("click", (event) => {
  const box = event.target;
  if (!box.matches("input[type=checkbox][name=face], input[type=checkbox][name=person]")) return;
  const boxes = [...document.querySelectorAll(`input[type=checkbox][name=${box.name}]`)];
  if (event.shiftKey && last && boxes.includes(last)) {
    const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
    boxes.slice(from, to + 1).forEach((each) => { each.checked = box.checked; });
  }
  last = box;
});
