"""Sites from made-up records, the example, and a browser to look at them with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.benchmarks import default_cache
from harness.board.example import made_up
from harness.board.rows import summarise
from harness.board.site_data import Material
from harness.publishing.site_build import benchmark_cards, metric_definitions
from harness.records.record import Record
from leaderboard.builder import build
from tests.conftest import find_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# A browser as root in a container needs --no-sandbox; the rest keeps it from asking the network.
BROWSER_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def build_site(tmp_path: Path) -> Callable[..., Path]:
    """Builds a site from records (and other fields of `Material`) and returns its folder."""

    def made(records: Iterable[Record], name: str = "site", **options: Any) -> Path:
        records = tuple(records)
        material = Material(rows=summarise(records), records=records, **options)
        return build(material, tmp_path / name, version="0.1.0", commit="c0ffee").parent

    return made


@pytest.fixture(scope="session")
def example_material() -> Material:
    """The example with twelve entries, for tests that look at whole sites."""
    return made_up(benchmark_cards(), metric_definitions(), default_cache(), entries=12)


@pytest.fixture(scope="session")
def example_site(example_material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the example's site."""
    out = tmp_path_factory.mktemp("example") / "site"
    return build(example_material, out, version="0.1.0", commit="c0ffee").parent


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real headless Chromium with a fresh profile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_browser(), args=BROWSER_FLAGS)
        yield started
        started.close()


class Visit:
    """Opens pages from disk and notes what no page may do: complain, or ask the network."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(f"console: {m.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("request", self._note_request)

    def _note_request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.complaints.append(f"request: {request.url}")

    def open(self, path: Path, anchor: str = "") -> Page:
        """Go to a page; an anchor is what follows `#`."""
        self.page.goto("about:blank")  # the same page with another anchor would not be loaded anew
        self.page.goto(path.as_uri() + (f"#{anchor}" if anchor else ""))
        return self.page


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Makes visits (with options of a browser context); none may end with a complaint."""
    visits: list[Visit] = []

    def made(**options: Any) -> Visit:
        visits.append(Visit(browser, **options))
        return visits[-1]

    yield made
    complaints = [complaint for each in visits for complaint in each.complaints]
    for each in visits:
        each.context.close()
    assert complaints == []
