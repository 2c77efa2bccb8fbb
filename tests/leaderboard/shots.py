"""Pictures of one page of every kind of the example, for a person who wants to look: `make shots`.

Writes `build/shots/<kind>-<width>-<scheme>.png`: 1440, 820 and 390 pixels wide, 640 (1280 at a zoom
of 200 %) and 320 (at 400 %), light, and 1440 and 390 dark; the first 3,000 pixels of each page. With
`--print`, also `<kind>-print.pdf`, as a printer gets it.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from playwright.sync_api import sync_playwright

from harness.benchmarks import default_cache
from harness.board.example import made_up
from harness.publishing.site_build import benchmark_cards, metric_definitions
from leaderboard.builder import build
from tests.conftest import REPOSITORY, find_browser
from tests.leaderboard.conftest import BROWSER_FLAGS
from tests.leaderboard.page_kinds import one_of_each

LOOKS = [(1440, "light"), (820, "light"), (640, "light"), (390, "light"), (320, "light"), (1440, "dark"), (390, "dark")]  # fmt: skip
MOST_PIXELS = 3000


def example(out: Path) -> Path:
    """Build the example's site and return its folder."""
    material = made_up(benchmark_cards(), metric_definitions(), default_cache())
    return build(material, out, version="0.1.0", commit="c0ffee").parent


def take(site: Path, out: Path, wanted: str, has_print: bool) -> int:
    """Take the pictures of all kinds whose name has `wanted` in it, and count them."""
    out.mkdir(parents=True, exist_ok=True)
    kinds = {kind: page for kind, page in one_of_each(site).items() if wanted in kind}
    count = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=BROWSER_FLAGS)
        for width, scheme in LOOKS:
            page = browser.new_page(
                viewport={"width": width, "height": 844},
                color_scheme=scheme,
                reduced_motion="reduce",
            )
            for kind, (path, address) in kinds.items():
                page.goto("about:blank")
                page.goto(path.as_uri() + (f"#{address}" if address else ""))
                page.wait_for_timeout(200)  # what a script draws from its data
                high = min(page.evaluate("document.documentElement.scrollHeight"), MOST_PIXELS)
                page.screenshot(
                    path=out / f"{stem(kind)}-{width}-{scheme}.png",
                    full_page=True,
                    clip={"x": 0, "y": 0, "width": width, "height": high},
                )
                count += 1
                if has_print and (width, scheme) == LOOKS[0]:
                    page.pdf(path=out / f"{stem(kind)}-print.pdf", prefer_css_page_size=True)
            page.close()
        browser.close()
    return count


def stem(kind: str) -> str:
    """A file name for a kind of page."""
    return re.sub(r"[^A-Za-z0-9]+", "-", kind.replace(".html", "").replace("/*", "")).strip("-")


def main() -> None:
    """Build the example, or take a site that is there, and take its pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--site", type=Path, help="a site that is built (default: the example)")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "shots")
    parser.add_argument("--only", default="", help="kinds with this in their name")
    parser.add_argument("--print", action="store_true", help="also as a printer gets it")
    given = parser.parse_args()
    site = given.site or example(given.out / "site")
    print(f"{take(site, given.out, given.only, given.print)} pictures in {given.out}")


if __name__ == "__main__":
    main()
