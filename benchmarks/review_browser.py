"""The review page of a large lake in a real Chromium: loading, scrolling, and merging.

Part of `python -m benchmarks.review --browser`. Times of frames are those between two calls of
requestAnimationFrame while the page scrolls by itself; nodes and heap are Chromium's own counts.
"""

import re
import shutil
import statistics
import time

SIZE = {"width": 1280, "height": 900}
# Pixels of each step, one a frame.
STEP = 80
PAINT = """() => new Promise((resolve) => {
  let last = 0;
  new PerformanceObserver((list) => { for (const one of list.getEntries()) last = one.startTime; })
    .observe({ type: "largest-contentful-paint", buffered: true });
  setTimeout(() => resolve({
    loaded: performance.getEntriesByType("navigation")[0].loadEventEnd, painted: last }), 500);
})"""
# Scrolls until so many are below each other or the end is reached; what is let go stays counted.
SCROLL = """([step, pages]) => new Promise((resolve) => {
  const frames = [], began = performance.now();
  let before = null, stuck = 0, waited = 0;
  const next = (now) => {
    if (before !== null) frames.push(now - before);
    before = now;
    const y = scrollY;
    scrollBy(0, step);
    const moved = scrollY !== y;
    stuck = moved ? 0 : stuck + 1;
    waited += moved ? 0 : 1;
    const last = document.querySelector("[data-chunks] > [data-chunk]:last-child");
    if (Number(last.dataset.chunk) >= pages || stuck > 300)
      resolve({ frames, waited, seconds: (performance.now() - began) / 1000,
                reached: last.dataset.chunk });
    else requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
})"""


def look(address):
    """Measure the pages at an address, and print."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        print("no Chromium or no Playwright here: the browser was left out")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_context(viewport=SIZE).new_page()
        page.set_default_timeout(60_000)
        base = address.split("/?")[0]
        page.goto(address)
        largest = page.locator("main ul.people a").first.get_attribute("href")
        for name, where in (("people", "/"), ("largest person, faces", f"{largest}?view=faces"),
                            ("largest person, photos", largest), ("photos", "/photos"),
                            ("questions", "/questions")):  # fmt: skip
            load(page, name, base + where)
        scroll(page, "5,000 people", f"{base}/", 5_000)
        scroll(page, "4,000 faces", f"{base}{largest}?view=faces", 4_000)
        merge(page, base)
        browser.close()


def load(page, name, address):
    """Print how long a page takes, twice."""
    for _ in range(2):
        page.goto(address)
        took = page.evaluate(PAINT)
        print(f"{name}: loaded after {took['loaded'] / 1000:.2f} s, largest paint after "
              f"{took['painted'] / 1000:.2f} s")  # fmt: skip


def counts(page):
    """Return the number of nodes, and MB of the heap after collecting garbage."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    found = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    here = page.evaluate("document.getElementsByTagName('*').length")
    session.detach()
    return f"{here:,} elements, {found['JSHeapUsedSize'] / 2**20:.1f} MB of heap"


def scroll(page, name, address, many):
    """Scroll a list down to its end, and print the times of frames, nodes and heap."""
    page.goto(address)
    page.wait_for_load_state("networkidle")
    each = page.locator("[data-chunk] > li").count()
    print(f"{name}, at the start: {counts(page)}")
    total = -(-many // each)
    frames, waited, seconds = [], 0, 0.0
    for part, until in (("in the middle", total // 2), ("at the end", total)):
        told = page.evaluate(SCROLL, [STEP, until])
        frames, waited = frames + told["frames"], waited + told["waited"]
        seconds += told["seconds"]
        print(f"{name}, {part} (page {told['reached']}): {counts(page)}")
    ordered = sorted(frames)
    over = [sum(one > most for one in frames) for most in (50, 100)]
    middle = statistics.median(frames)
    print(f"{name}: {len(frames)} frames in {seconds:.0f} s, median {middle:.0f} ms, "
          f"95 % under {ordered[int(0.95 * len(frames))]:.0f} ms, longest {ordered[-1]:.0f} ms; "
          f"{over[0]} over 50 ms, {over[1]} over 100 ms; {waited} waited for the list")  # fmt: skip
    start = time.perf_counter()
    page.mouse.wheel(0, -20_000)
    page.wait_for_timeout(100)
    page.wait_for_load_state("networkidle")
    print(f"{name}, back up by 20,000 pixels: shown after {time.perf_counter() - start:.1f} s")


def merge(page, base):
    """Tick three and merge them, and print how long it takes until it is said."""
    for number in range(5):
        page.goto(f"{base}/?show=unnamed&page={7 + number}")
        for box in page.locator(".pick input").all()[:3]:
            box.check()
        start = time.perf_counter()
        page.get_by_role("button", name="Make them one").click()
        page.locator("#status").get_by_text(re.compile("3 persons are one")).wait_for()
        print(f"three merged in the browser, until it is said: {time.perf_counter() - start:.2f} s")
