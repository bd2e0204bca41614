// A photo: keys to go on, boxes and names that belong together, and a face that is drawn where none was found.
const LEAST = 8;

const stage = () => document.querySelector(".stage");
const both = (id) => document.querySelectorAll(`[data-face="${CSS.escape(id)}"]`);

function lit(event, on) {
  const id = event.target.closest?.("[data-face]")?.dataset.face;
  if (id) both(id).forEach((one) => one.classList.toggle("lit", on));
}

function named(event) {
  const box = event.target.closest?.(".stage a[data-face]");
  if (!box || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const details = document.querySelector(`.named [data-face="${CSS.escape(box.dataset.face)}"] details`);
  if (!details || stage().classList.contains("drawing")) return;
  event.preventDefault();
  document.querySelectorAll(".named details[open]").forEach((one) => { one.open = one === details; });
  details.open = true;
  details.querySelector("input:not([type=hidden])")?.focus();
}

const svg = () => stage()?.querySelector("svg.photo");
const at = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg().getScreenCTM().inverse());
let start = null;

function rect() {
  let one = svg().querySelector(".drawn");
  if (!one) {
    one = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    one.setAttribute("class", "drawn");
    one.setAttribute("tabindex", "0");
    one.setAttribute("role", "img");
    one.setAttribute("aria-label", "the new face: arrow keys move it, with Shift they resize it, Enter goes on to its name");
    svg().append(one);
  }
  return one;
}

function place(x1, y1, x2, y2) {
  const { width, height } = svg().viewBox.baseVal;
  const [left, right] = [x1, x2].map((x) => Math.min(Math.max(x, 0), width)).sort((a, b) => a - b);
  const [top, bottom] = [y1, y2].map((y) => Math.min(Math.max(y, 0), height)).sort((a, b) => a - b);
  const shape = { x: left, y: top, width: right - left, height: bottom - top };
  Object.entries(shape).forEach(([key, value]) => rect().setAttribute(key, value));
  const form = document.getElementById("draw");
  form.elements.box.value = [left, top, right, bottom].map((value) => value.toFixed(1)).join(",");
  return shape;
}

function draws(on) {
  stage().classList.toggle("drawing", on);
  const form = document.getElementById("draw");
  form.querySelector("details").open = on;
  if (!on) return svg().querySelector(".drawn")?.remove();
  const { width, height } = svg().viewBox.baseVal;
  const side = Math.min(width, height) / 5;
  place((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2);
  rect().focus({ preventScroll: true });
}

function nudged(event) {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (event.key === "Enter") { event.preventDefault(); return document.getElementById("draw").elements.name.focus(); }
  if (!step) return;
  event.preventDefault();
  event.stopPropagation();
  const one = rect(), by = svg().viewBox.baseVal.width / 100;
  const [x, y, w, h] = ["x", "y", "width", "height"].map((key) => Number(one.getAttribute(key)));
  const [dx, dy] = step.map((part) => part * by);
  if (event.shiftKey) place(x, y, x + Math.max(w + dx, LEAST), y + Math.max(h + dy, LEAST));
  else place(x + dx, y + dy, x + dx + w, y + dy + h);
}

function keyed(event) {
  if (!stage() || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches?.(".drawn") && event.key !== "Escape") return nudged(event);
  const way = { ArrowLeft: ".turn.prev", ArrowRight: ".turn.next" }[event.key];
  if (event.key === "Escape") {
    if (document.querySelector("dialog[open]")) return;
    if (stage().classList.contains("drawing")) return draws(false);
    if (event.target.matches("input, select")) return event.target.blur();
    return document.querySelector("a[data-up]")?.click();
  }
  if (event.target.matches?.("input, select, textarea") || !way) return;
  document.querySelector(`.stage ${way}`)?.click();
}

export function look() {
  document.addEventListener("pointerover", (event) => lit(event, true));
  document.addEventListener("pointerout", (event) => lit(event, false));
  document.addEventListener("focusin", (event) => lit(event, true));
  document.addEventListener("focusout", (event) => lit(event, false));
  document.addEventListener("keydown", keyed);
  document.addEventListener("click", (event) => {
    const turn = event.target.closest?.(".stage .turn");
    if (turn && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault(); // so that going back leads to the list, not through every photo
      return location.replace(turn.href);
    }
    if (event.target.closest?.("[data-draw]")) draws(!stage().classList.contains("drawing"));
    else named(event);
  });
  document.addEventListener("pointerdown", (event) => {
    if (!stage()?.classList.contains("drawing") || !svg()?.contains(event.target) || event.button) return;
    event.preventDefault();
    start = at(event);
    svg().setPointerCapture(event.pointerId);
  });
  document.addEventListener("pointermove", (event) => {
    if (start) place(start.x, start.y, at(event).x, at(event).y);
  });
  document.addEventListener("pointerup", (event) => {
    if (!start) return;
    const { width, height } = place(start.x, start.y, at(event).x, at(event).y);
    start = null;
    if (width >= LEAST && height >= LEAST) document.getElementById("draw").elements.name.focus();
  });
}
