"""What a visitor of the review pages sees and does in a real browser."""

from playwright.sync_api import expect


def people(page):
    links = page.locator("main ul.people a[href^='/people/']").all()
    return [link.get_attribute("href") for link in links]


def faces(page):
    return [box.get_attribute("value") for box in page.locator(".pick input[name=face]").all()]


def status(page):
    return page.locator("#status")


def says(page, words, seconds=15):
    """Wait until the status says so: it is filled a moment after the page."""
    status(page).get_by_text(words).wait_for(timeout=1000 * seconds)


def press(page, key):
    """Press a key, and wait until the page has answered it."""
    page.keyboard.press(key)
    page.wait_for_load_state("networkidle")
    expect(page.locator("main.busy")).to_have_count(0)
