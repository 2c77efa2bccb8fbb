"""The site in Debian's Firefox: every kind of page, both colour schemes, wide and narrow, and its tasks."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.leaderboard.node_tools import firefox_problem, run_node
from tests.leaderboard.page_kinds import one_of_each


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.skipif(firefox_problem() is not None, reason=firefox_problem() or "")
def test_every_page_looks_right_and_works_in_firefox(example_site, scheme):
    kinds = one_of_each(example_site)
    faults, told = run_node(
        "firefox.cjs",
        json.dumps(
            {
                "firefox": shutil.which("firefox-esr"),
                "scheme": scheme,
                "widths": [1440, 390],
                "site": example_site.as_uri(),
                "pages": [
                    (path.as_uri() + (f"#{address}" if address else ""), kind)
                    for kind, (path, address) in kinds.items()
                ],
            }
        ),
        timeout_seconds=500,
    )
    assert faults == [], told
    assert f"{len(kinds)} pages and 6 tasks in 2 widths" in told
