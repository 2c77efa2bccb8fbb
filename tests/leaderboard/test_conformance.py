"""Every page and style sheet against the standards, by checkers that are not ours."""

from __future__ import annotations

import json
import re

import pytest

from harness.common.statuses import Status
from tests.leaderboard.node_tools import HERE, node_problem, run_node

NEEDS_NODE = pytest.mark.skipif(node_problem() is not None, reason=node_problem() or "")


@NEEDS_NODE
def test_every_page_and_style_sheet_conforms(example_site):
    faults, told = run_node("check_pages.cjs", str(example_site), timeout_seconds=120)
    assert faults == []
    pages = len(list(example_site.rglob("*.html")))
    assert told.startswith(f"{pages} pages and ")


@NEEDS_NODE
def test_pages_with_failures_and_hostile_texts_conform(build_site, make_record):
    records = [
        make_record(entry="a & b <c>", title='"><b>', benchmark='x" <y>'),
        make_record(entry="bad", status=Status.CRASHED, detail="<i> & \x00 \x1b"),
    ]
    faults, _ = run_node("check_pages.cjs", str(build_site(records)), timeout_seconds=60)
    assert faults == []


@NEEDS_NODE
def test_the_checker_sees_faults_of_pages_and_of_style_sheets(tmp_path):
    (tmp_path / "page.html").write_text(
        '<!doctype html><html lang="en"><head><title>x</title></head><body><p><div>a</div></p>'
        '<img src="a.png"><a href="b"><button type="button">c</button></a><i id="a b">d</i></body></html>'
    )
    (tmp_path / "sheet.css").write_text(
        "a { color: rde; colr: red; background: var(--unknown); }\n@page { size: A99; }\n"
    )
    faults, _ = run_node("check_pages.cjs", str(tmp_path), timeout_seconds=60)
    rules = {each.split(": ")[1] for each in faults}
    assert rules >= {
        "no-implicit-close", "wcag/h37", "element-permitted-content", "valid-id", "css-value", "css-unknown-variable"
    }  # fmt: skip
    assert len([each for each in faults if ": css-value: " in each]) == 3


def test_packages_from_npm_are_held_by_hashes_and_name_no_host():
    text = (HERE / "package-lock.json").read_text()
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert set(packages.pop("")["devDependencies"]) == {
        "css-tree",
        "html-validate",
        "puppeteer-core",
    }
    assert len(packages) > 50
    for name, each in packages.items():
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", each["integrity"]), name
