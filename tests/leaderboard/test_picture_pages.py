"""Pictures at full size: what is said of each, its own address, and marks that need no colour."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from harness.board.overall_ranks import alarms
from harness.board.site_data import Gallery

THRESHOLD = 1.05


def with_verdicts(material):
    """The example with thresholds: what each run calls an image, and what its map finds."""
    galleries = {key: _judged(each) for key, each in material.galleries.items()}
    return replace(material, galleries=galleries, alarms=alarms(material.records, galleries))


def _judged(gallery):
    pictures = tuple(
        replace(
            each,
            is_called=each.score >= THRESHOLD,
            lesion=0.027 if each.truth else None,
            found=0.31 if each.truth and each.map else None,
            outlined=each.truth if each.map else None,
        )
        for each in gallery.card.pictures
    )
    card = replace(gallery.card, threshold=THRESHOLD, threshold_from="test", map_threshold=0.5)
    return Gallery(replace(card, pictures=pictures), gallery.files)
