"""A real Chromium for tests of pages."""

import shutil

import pytest

from tests.support.served import TOKEN


@pytest.fixture(scope="session")
def browser():
    """Chromium, as the system has it, without a window."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium: apt install chromium")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is in the dev extra")
    with sync.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def enter(browser):
    """Open the pages at an address as a new visitor; what goes wrong there fails the test."""
    contexts, errors = [], []
    # a picture that was still under way when the server ended, and a page that says what is wrong
    expected = ("ERR_CONNECTION_REFUSED", "400 (Bad Request)", "403 (Forbidden)")

    def hear(console_message):
        if console_message.type == "error" and not any(
            words in console_message.text for words in expected
        ):
            errors.append(console_message.text)

    def enter(base, token=TOKEN, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", hear)
        page.on("dialog", lambda dialog: errors.append(dialog.message))
        page.goto(f"{base}/?token={token}")
        assert page.url == f"{base}/"
        return page

    yield enter
    for context in contexts:
        context.close()
    assert errors == []
