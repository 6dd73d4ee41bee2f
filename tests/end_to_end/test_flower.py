"""Flower in a real browser: it asks for the password, and shows the workers and what they finished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, expect, sync_playwright

from tests.support.command import Folder, document

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as playwright:
        # No sandbox: chromium refuses to run as root with one. No GPU and no /dev/shm: containers have little of either.
        switches = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield chromium
        chromium.close()


def test_without_the_password_nothing_is_shown(running: Folder, browser: Browser) -> None:
    page = browser.new_page()
    with pytest.raises(Error, match=r"ERR_INVALID_AUTH_CREDENTIALS|ERR_HTTP_RESPONSE_CODE_FAILURE"):
        page.goto(running.state["flower"]["address"])
    page.close()


def test_the_wrong_password_opens_nothing(running: Folder, browser: Browser) -> None:
    context = browser.new_context(http_credentials={"username": running.state["flower"]["user"], "password": "wrong"})
    response = context.new_page().goto(running.state["flower"]["address"])
    assert response is not None
    assert response.status == 401
    context.close()


def test_it_shows_the_workers_and_the_stores_that_they_finished(
    running: Folder, browser: Browser, papers: Path, tmp_path: Path
) -> None:
    (papers / "a.json").write_bytes(document("/for/flower"))
    answer = running.store(papers / "a.json")
    flower = running.state["flower"]
    password = Path(flower["password_file"]).read_text().strip()
    assert Path(flower["password_file"]).stat().st_mode & 0o077 == 0
    context = browser.new_context(http_credentials={"username": flower["user"], "password": password})
    page = context.new_page()

    page.goto(flower["address"])
    for name in ("short-", "long-"):
        row = page.locator("#workers-table tbody tr", has_text=name)
        expect(row).to_be_visible()
        expect(row).to_contain_text("Online")

    page.goto(f"{flower['address']}/tasks?sortBy=received&order=desc")
    row = page.locator("#tasks-table tbody tr", has_text=answer.fields["jobs"][0])
    expect(row).to_be_visible()
    expect(row).to_contain_text("strongroom.store")
    expect(row).to_contain_text("SUCCESS")
    page.screenshot(path=tmp_path / "flower.png", full_page=True)
    assert (tmp_path / "flower.png").stat().st_size > 10_000

    page.goto(f"{flower['address']}/task/{answer.fields['jobs'][0]}")
    expect(page.locator("body")).to_contain_text("strongroom.store")
    page.screenshot(path=tmp_path / "task.png", full_page=True)
    context.close()
