// What others change meanwhile: it is said, and shown at once unless somebody is in the middle of something.
import { parsed, show, tell, unsaved, sending } from "./send.js";

const EVERY_MS = 15000;
const version = () => document.getElementById("main")?.dataset.version;

// Return what others did since the page was made, and go on from there.
export async function changedSince() {
  try {
    const answer = await fetch(`/changes?since=${encodeURIComponent(version() ?? "")}`);
    return answer.ok ? (await answer.json()).said : [];
  } catch {
    return [];
  }
}

let told = "";
async function peek() {
  if (document.hidden || sending() || !version()) return;
  const said = await changedSince();
  const news = said.join("; ");
  if (!news || news === told || sending()) return;
  told = news;
  const again = async () => show(await parsed(await fetch(location.href)));
  if (unsaved()) tell(`Changed meanwhile: ${news}.`, false, { text: "Show", act: again });
  else { await again(); tell(`Changed meanwhile: ${news}.`); }
}

export function watch() {
  setInterval(peek, EVERY_MS);
  document.addEventListener("visibilitychange", peek);
}

// The toast that came with the page: read out and shown for a while like any other.
export function stillHere() {
  const toast = document.querySelector("#status .toast");
  if (!toast) return;
  toast.remove();
  const here = new URL(location.href);
  here.searchParams.delete("message");
  history.replaceState(history.state, "", here);
  setTimeout(() => import("./send.js").then((sent) => sent.say(toast)), 100);
}
