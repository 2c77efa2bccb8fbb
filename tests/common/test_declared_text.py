"""What an author may declare: plain text and plain addresses (attack 19)."""

from __future__ import annotations

from typing import get_args

import pytest

from harness.common.declared_text import settings_problems, text_problems
from harness.entries.entry import Family
from harness.submit import FAMILIES


def test_ordinary_declarations_pass():
    declared = {
        "title": "Reverse Distillation (RD++), n=5",
        "authors": ["José García-Müller", "王小明"],
        "paper": "https://arxiv.org/abs/2201.10703?v=2&x=1",
        "code": "none",
        "licence": "CC-BY-4.0",
        "description": "A < B, and C > D; 5 % better.",
        "submitted": "2026-01-31",
        "maps": True,
    }
    assert text_problems(declared) == []


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("title", "<img src=x onerror=alert(1)>", "tag"),
        ("title", "</td>", "tag"),
        ("title", "a\nb", "control"),
        ("title", "\u202egnp.exe", "control"),
        ("title", "a\u200bb", "control"),
        ("title", "\x1b[2J", "control"),
        ("title", "Patch\u00adCore", r"\u00ad"),
        ("title", "PatchCore\U000e0041", r"\U000e0041"),
        ("team", "The Team\ufe0f", "control"),
        ("authors", ["A.\u3164Author"], "control"),
        ("deviation 1, why", "a\x1b", "control"),
        ("title", "x" * 201, "longer"),
        ("title", " x", "space"),
        ("authors", ["=HYPERLINK(1)"], "formula"),
        ("description", "+1", "formula"),
        ("licence", "@SUM(A1)", "formula"),
        ("authors", ["a"] * 51, "more than 50"),
        ("submitted", "yesterday", "date"),
        ("paper", "javascript:alert(1)", "http"),
        ("paper", "JaVaScRiPt:alert(1)", "http"),
        ("code", "data:text/html,x", "http"),
        ("code", "//evil.example/x", "http"),
        ("code", "https://", "http"),
        ("code", "https://[", "http"),
        ("code", "file:///etc/passwd", "http"),
        ("code", "https://a.example/\nx", "http"),
        ("code", "https://a.example/x y", "http"),
        ("code", 'https://a.example/">', "http"),
    ],
)
def test_hostile_text_is_refused_with_the_field_and_the_reason(name, text, problem):
    (told,) = text_problems({name: text})
    assert told.startswith(name)
    assert problem in told
    assert "\n" not in told
    assert "\u202e" not in told


def test_all_problems_are_told_at_once():
    told = text_problems({"title": "<b>", "paper": "ftp://x", "authors": ["=1", "ok", "@2"]})
    assert [each.split()[0] for each in told] == ["title", "paper", "authors", "authors"]


def test_the_families_of_the_command_line_are_those_of_the_table():
    assert get_args(Family) == FAMILIES


def test_the_names_and_texts_of_settings_are_looked_at_however_deep():
    assert settings_problems("params", {"weights": "ImageNet", "layers": ["a", "b"], "n": 3}) == []
    for settings in (
        {"weights": "a\nfix: b"},
        {"layers": ["a", "\u202eb"]},
        {"we\u00adights": "a"},
        {"demo": {"weights": "\x1b[2J"}},
    ):
        (told,) = settings_problems("params", settings)
        assert told.startswith("[params")
        assert "cannot be seen" in told
        assert told.isprintable()
