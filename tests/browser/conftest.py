"""A real Chromium for tests of pages."""

import shutil

import pytest


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
