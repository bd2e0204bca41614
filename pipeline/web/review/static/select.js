// Ticking many: a click, Shift and a click, a frame that is drawn with the mouse, or keys.
const MOVED = 6, EDGE = 60, STEP = 24;
export const picked = new Set();
let last = null, frame = null, justDragged = false;

const form = () => document.querySelector("form[data-select]");
const boxes = () => [...form().querySelectorAll(".pick input")];
const tile = (node) => node.closest?.("form[data-select] li[data-id]");
const boxOf = (li) => li?.querySelector(".pick input");

export function markPicked(root) {
  root.querySelectorAll(".pick input").forEach((box) => { box.checked = picked.has(box.value); });
}

function set(box, on) {
  box.checked = on;
  if (on) picked.add(box.value); else picked.delete(box.value);
}

function told() {
  const acts = document.querySelector("[data-acts]");
  if (!acts || !form()) return;
  acts.classList.toggle("on", picked.size > 0);
  form().classList.toggle("picking", picked.size > 0);
  acts.querySelector("output").textContent = `${picked.size.toLocaleString("en")} selected`;
  acts.querySelectorAll("[data-single]").forEach((button) => {
    button.dataset.several ??= button.textContent;
    button.textContent = picked.size === 1 ? button.dataset.single : button.dataset.several;
  });
  acts.querySelectorAll("[data-one]").forEach((button) => { button.disabled = picked.size !== 1; });
}

export function settle() {
  picked.clear();
  if (form()) markPicked(form());
  told();
}

function upTo(box) {
  const all = boxes();
  const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
  all.slice(Math.max(from, 0), to + 1).forEach((one) => set(one, box.checked));
}

function clicked(event) {
  if (justDragged) { event.preventDefault(); justDragged = false; return; }
  if (event.target.matches?.(".pick input")) {
    const box = event.target;
    set(box, box.checked);
    if (event.shiftKey && last?.isConnected) upTo(box);
    last = box;
    return told();
  }
  const link = event.target.closest?.("a");
  const box = boxOf(tile(event.target));
  if (!link || !box || event.ctrlKey || event.metaKey || !(picked.size || event.shiftKey)) return;
  event.preventDefault(); // while ticking, a picture is ticked and not opened
  box.click();
  if (event.shiftKey && last) { upTo(box); told(); }
}

function pressed(event) {
  if (!form() || event.button || event.pointerType !== "mouse") return;
  if (!event.target.closest(".page") || event.target.closest("input, button, select, label, details, footer, .acts, .head, #status")) return;
  frame = { x: event.pageX, y: event.pageY, div: null, before: new Set(picked) };
}

function moved(event) {
  if (!frame) return;
  const [dx, dy] = [event.pageX - frame.x, event.pageY - frame.y];
  if (!frame.div && Math.hypot(dx, dy) < MOVED) return;
  if (!frame.div) {
    frame.div = document.createElement("div");
    frame.div.className = "lasso";
    document.body.append(frame.div);
    form().classList.add("picking");
  }
  if (event.clientY < EDGE) scrollBy(0, -STEP);
  if (event.clientY > innerHeight - EDGE) scrollBy(0, STEP);
  const [left, top] = [Math.min(frame.x, event.pageX) - scrollX, Math.min(frame.y, event.pageY) - scrollY];
  const [right, bottom] = [left + Math.abs(dx), top + Math.abs(dy)];
  Object.assign(frame.div.style, { left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
  for (const box of boxes()) {
    const at = box.closest("li").getBoundingClientRect();
    const inside = at.left < right && at.right > left && at.top < bottom && at.bottom > top;
    set(box, inside || frame.before.has(box.value));
  }
  told();
}

function released() {
  if (!frame) return;
  justDragged = frame.div !== null;
  frame.div?.remove();
  frame = null;
  if (justDragged) setTimeout(() => { justDragged = false; }, 50);
}

function stepped(event) {
  if (!form() || event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  if (event.key === "Escape" && picked.size && !document.querySelector("dialog[open]")) return settle();
  const li = tile(event.target);
  if (event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    boxes().forEach((box) => set(box, true));
    return told();
  }
  if (!li || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "x" && boxOf(li)) { event.preventDefault(); return boxOf(li).click(); }
  const all = [...form().querySelectorAll("li[data-id]")];
  const here = all.indexOf(li);
  const top = li.getBoundingClientRect().top;
  const wide = Math.max(1, all.filter((one) => Math.abs(one.getBoundingClientRect().top - top) < 2).length);
  const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide }[event.key];
  if (!by || !all[here + by]) return;
  event.preventDefault();
  all[here + by].querySelector("a").focus();
}

export function pick() {
  document.addEventListener("click", clicked);
  document.addEventListener("pointerdown", pressed);
  document.addEventListener("pointermove", moved);
  document.addEventListener("pointerup", released);
  document.addEventListener("pointercancel", released);
  document.addEventListener("keydown", stepped);
  document.addEventListener("dragstart", (event) => { if (form()?.contains(event.target)) event.preventDefault(); });
  document.addEventListener("reset", (event) => { if (event.target === form()) { event.preventDefault(); settle(); } });
  // What is ticked on lists that were let go is sent as well.
  document.addEventListener("formdata", (event) => {
    const sent = event.target;
    if (sent !== form()) return;
    const name = sent.dataset.select;
    event.formData.delete(name);
    picked.forEach((value) => event.formData.append(name, value));
  });
  document.addEventListener("shown", () => { if (form()) settle(); });
  if (form()) { boxes().filter((box) => box.checked).forEach((box) => picked.add(box.value)); told(); }
}
