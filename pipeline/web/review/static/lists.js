// Lists grow as one scrolls, in both directions, and what is far away is let go again.
import { parsed } from "./send.js";
import { markPicked } from "./select.js";

const NEAR = "150% 0px", FAR = "400% 0px";
let box = null, far = null, ends = null;
const urls = { prev: null, next: null };
const loading = new Set();

export const hasLists = () => box !== null && box.isConnected;

const chunkOf = (page) => page.querySelector("[data-chunks] > [data-chunk]");
const link = (page, rel) => page.querySelector(`.pager a[rel=${rel}]`)?.getAttribute("href") ?? null;

export function grow() {
  box = document.querySelector("[data-chunks]");
  if (!box) return;
  const first = chunkOf(document);
  if (!first) return;
  first.dataset.url = location.pathname + location.search;
  urls.prev = link(document, "prev");
  urls.next = link(document, "next");
  document.querySelectorAll(".pager").forEach((pager) => pager.remove());
  far = new IntersectionObserver(passed, { rootMargin: FAR });
  far.observe(first);
  ends = new IntersectionObserver((seen) => seen.forEach((one) => one.isIntersecting && more(one.target.dataset.end)), { rootMargin: NEAR });
  for (const end of ["prev", "next"]) {
    const mark = document.createElement("div");
    mark.dataset.end = end;
    if (end === "prev") box.before(mark); else box.after(mark);
    ends.observe(mark);
  }
  let timer;
  addEventListener("scroll", () => { clearTimeout(timer); timer = setTimeout(note, 200); }, { passive: true });
}

const fetched = async (url) => {
  // The names to propose are here already; pictures can wait.
  const answer = await fetch(url, { headers: { "x-list": "1" }, priority: "high" });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return parsed(answer);
};

async function more(end) {
  const url = urls[end];
  if (!url || loading.has(end)) return;
  loading.add(end);
  const mark = document.querySelector(`[data-end=${end}]`);
  try {
    const page = await fetched(url);
    const chunk = document.importNode(chunkOf(page), true);
    urls[end] = link(page, end);
    chunk.dataset.url = url;
    if (end === "next") dropTwin(chunk);
    if (end === "next") box.append(chunk); else box.prepend(chunk);
    far.observe(chunk);
    markPicked(chunk);
    mark.replaceChildren();
  } catch {
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Show more";
    again.addEventListener("click", () => more(end));
    mark.replaceChildren(again);
  } finally {
    loading.delete(end);
  }
  // still in sight: the observer tells of changes only
  ends.unobserve(mark);
  ends.observe(mark);
}

// The heading of a month is not said again where the last list ended in the same month.
function dropTwin(chunk) {
  const months = box.querySelectorAll(".month");
  const [last, first] = [months[months.length - 1], chunk.querySelector(".month")];
  if (last && first && first === chunk.firstElementChild && last.dataset.month === first.dataset.month) first.classList.add("away");
}

function passed(seen) {
  for (const { target: chunk, isIntersecting } of seen) {
    if (isIntersecting && chunk.dataset.state) fill(chunk);
    else if (!isIntersecting && !chunk.dataset.state && !chunk.contains(document.activeElement)) {
      chunk.style.height = `${chunk.offsetHeight}px`;
      chunk.replaceChildren();
      chunk.dataset.state = "empty";
    }
  }
}

async function fill(chunk) {
  if (loading.has(chunk)) return;
  loading.add(chunk);
  try {
    const other = chunkOf(await fetched(chunk.dataset.url));
    if (!other || other.dataset.chunk !== chunk.dataset.chunk) return void chunk.remove();
    const held = document.activeElement?.closest?.("[data-id]");
    const id = held && chunk.contains(held) ? held.dataset.id : null;
    chunk.replaceChildren(...document.importNode(other, true).childNodes);
    chunk.style.height = "";
    delete chunk.dataset.state;
    markPicked(chunk);
    if (id) (chunk.querySelector(`[data-id="${id}"] a`) ?? chunk.querySelector("a") ?? document.getElementById("main")).focus({ preventScroll: true });
  } catch {
    chunk.dataset.state = "stale"; // tried again when it comes into sight
  } finally {
    loading.delete(chunk);
  }
}

// Something was changed: all that is listed is read again, what is in sight at once.
export function freshen() {
  for (const chunk of box.querySelectorAll(":scope > [data-chunk]")) {
    chunk.dataset.state ||= "stale";
    far.unobserve(chunk);
    far.observe(chunk);
  }
}

// The address names the page in sight, so that coming back leads there.
function note() {
  const chunk = [...box.children].find((one) => one.getBoundingClientRect().bottom > 100);
  if (chunk?.dataset.url && hasLists()) history.replaceState(history.state, "", chunk.dataset.url);
}
