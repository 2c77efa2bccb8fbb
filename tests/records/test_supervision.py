"""What a method had learned from: how it is declared, read, and told in a word."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from harness.records.supervision import NOT_SAID, Contamination, Labels, Supervision, worst

NOTHING = {"shots_normal": 0, "shots_abnormal": 0, "foreign_labels": []}


@pytest.mark.parametrize(
    ("told", "labels"),
    [
        ({}, Labels.NONE),
        ({"shots_normal": 4}, Labels.NORMAL),
        ({"shots_normal": "all"}, Labels.NORMAL),
        ({"shots_normal": 4, "shots_abnormal": 4}, Labels.ABNORMAL),
        ({"shots_abnormal": "all", "foreign_labels": "unknown"}, Labels.ABNORMAL),
        ({"foreign_labels": ["VisA:test"]}, Labels.FOREIGN),
        ({"foreign_labels": ["VisA:test"], "shots_abnormal": "unknown"}, Labels.FOREIGN),
        ({"shots_normal": 4, "shots_abnormal": "unknown"}, Labels.UNKNOWN),
        ({"shots_normal": "unknown"}, Labels.UNKNOWN),
        ({"foreign_labels": "unknown"}, Labels.UNKNOWN),
    ],
)
def test_the_word_is_what_would_be_worst_to_leave_unsaid(told: dict, labels: Labels) -> None:
    declared = Supervision.model_validate(NOTHING | told)
    assert declared.labels is labels
    assert Supervision.model_validate_json(declared.model_dump_json()) == declared


def test_what_is_not_said_is_unknown_and_never_none() -> None:
    assert NOT_SAID.labels is Labels.UNKNOWN
    assert NOT_SAID.of_pack("brain") is Contamination.UNKNOWN
    declared = Supervision(contamination={"rsna": Contamination.IMAGES})
    assert declared.of_pack("rsna") is Contamination.IMAGES
    assert declared.of_pack("brain") is Contamination.UNKNOWN
    others = Supervision.model_validate({"contamination": {"rsna": "images", "default": "none"}})
    assert others.of_pack("brain") is Contamination.NONE
    assert "images of rsna, none of the others" in others.told


def test_of_several_packs_the_worst_stands_for_all() -> None:
    none, images, unknown, labels = Contamination
    assert worst([none, images, none]) is images
    assert worst([images, unknown]) is unknown
    assert worst([unknown, labels]) is labels
    assert worst([]) is unknown


@pytest.mark.parametrize(
    "told",
    [
        {"shots_normal": -1},
        {"shots_normal": True},
        {"shots_abnormal": "some"},
        {"shots_abnormal": 1.5},
        {"foreign_labels": "VisA:test"},
        {"foreign_labels": ["VisA"]},
        {"foreign_labels": ["VisA:the test split"]},
        {"foreign_labels": [":test"]},
        {"foreign_labels": ["a:b"] * 51},
        {"contamination": {"brain": "pixels"}},
        {"contamination": {"Brain!": "none"}},
        {"contamination": "none"},
        {"shots": 1},
    ],
)
def test_what_does_not_read_as_a_declaration_is_refused(told: dict) -> None:
    with pytest.raises(ValidationError):
        Supervision.model_validate(told)
