"""Names that look alike have one key; names that do not, have their own."""

from __future__ import annotations

import pytest

from harness.common.lookalikes import key_of


@pytest.mark.parametrize(
    "spellings",
    [
        ("A. Author", "A.Author", "a author", "A-Author", "А. Author", "Α. Аuthоr"),
        ("The Team", "the  team ", "ＴＨＥ ＴＥＡＭ", "THE TEAM", "The-Team", "Тhе Теаm"),
        ("Vision Lab", "VISI0N LAB", "V1sion Lab", "Vіsiоn_Lаb", "Vision\u00adLab"),
        ("patchcore", "patchc0re", "patch-core", "pаtchcore"),
        ("modern", "modem"),
        ("ﬁsh", "fish"),
    ],
)
def test_all_spellings_of_one_name_have_one_key(spellings: tuple[str, ...]) -> None:
    assert len({key_of(each) for each in spellings}) == 1


def test_other_names_have_other_keys() -> None:
    names = [
        "The Team",
        "The Teams",
        "王小明",
        "李明",
        "Müller",
        "Muller",
        "rd4ad",
        "padim",
        "!",
        "?",
    ]
    assert len({key_of(each) for each in names}) == len(names)
    assert all(key_of(each) for each in names)
