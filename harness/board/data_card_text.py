"""The data card as Markdown, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.board.data_card import GIVE_AWAY, DataCard, SplitFacts, TrivialBaseline
from harness.records.releases import not_known


def to_markdown(card: DataCard) -> str:
    """The whole card; the same card gives the same text."""
    sections = [
        [f"# Data card: {card.title}", "", *_head(card)],
        ["## Images", "", *_images(card)],
        ["## Counts beside published ones", "", *_expected(card)] if card.expected else [],
        ["## Masks", "", *_masks(card)],
        ["## Leaks", "", *_leaks(card)],
        ["## What one number tells", "", *_trivial(card)],
        ["## Remarks", "", *(f"- {remark}" for remark in card.remarks)] if card.remarks else [],
        ["## Geography", "", card.geography],
        ["## Licence and citation", "", *_rights(card)],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _head(card: DataCard) -> list[str]:
    variant = f", variant `{card.variant}`" if card.variant else ""
    base = f" of `{card.base}`" if card.base else ""
    lines = [
        f"`{card.name}`{base}{variant}, version `{card.version}`, {card.visibility}.",
        f"{card.modality}.",
    ]
    if reason := not_known(card.name):
        lines += [
            "",
            f"**It is {reason}** (digest of its pixels and masks: `{card.digest}`).",
            f"Its rows stand under `{card.name}`, take no rank, and are not set against the paper.",
        ]
    if card.problems:
        lines += ["", "**This pack is not what it claims to be:**", ""]
        lines += [f"- {problem}" for problem in card.problems]
    return lines


def _images(card: DataCard) -> list[str]:
    unit = f"{card.group_unit or 'patient'}s"
    rows = [
        "| split | class | images | " + unit + " | modes | sizes |",
        "|---|---|---|---|---|---|",
    ]
    rows += [_row(facts) for facts in card.splits]
    if card.subclasses:
        kinds = ", ".join(f"{name} {count}" for name, count in card.subclasses.items())
        rows += ["", f"Abnormal test images by kind: {kinds}."]
    if card.repeated:
        shown = ", ".join(f"{count} in {split}" for split, count in card.repeated.items())
        rows += ["", f"Images that stand more than once: {shown}."]
    return rows


def _row(facts: SplitFacts) -> str:
    groups = "unknown" if facts.groups is None else str(facts.groups)
    word = "abnormal" if facts.is_anomalous else "normal"
    return (
        f"| {facts.split} | {word} | {facts.images} | {groups} | {_counts(facts.modes)}"
        f" | {_counts(facts.sizes)} |"
    )


def _counts(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def _expected(card: DataCard) -> list[str]:
    rows = ["| published by | train | valid | test | met |", "|---|---|---|---|---|"]
    rows += [
        f"| {one.origin} | {one.train} | {one.valid} | {one.test} | {'yes' if one.is_met else 'no'} |"
        for one in card.expected
    ]
    return rows


def _masks(card: DataCard) -> list[str]:
    if card.masks is None:
        return ["None: this is an image-level benchmark."]
    masks = card.masks
    return [
        (
            f"{masks.images} abnormal images have one; every mask has its image's size and marks "
            "something; any value above 0 is lesion."
        ),
        (
            f"Lesions take {_percent(masks.smallest_share)} to {_percent(masks.largest_share)} of their "
            f"images, {_percent(masks.median_share)} on the median."
        ),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _leaks(card: DataCard) -> list[str]:
    lines = []
    for leak in card.leaks:
        first, second = leak.splits
        examples = f" (such as {', '.join(leak.examples[:3])})" if leak.examples else ""
        what = f"{leak.count} {leak.kind} are"
        if leak.count == 1:
            what = f"1 {leak.kind.removesuffix('s')} is"
        about = f"{what} in both {first} and {second}"
        if leak.images != leak.count:
            about += f", {leak.images} images of {second}"
        lines.append(f"- Found: {about}{examples}")
    lines += [f"- Known: {leak}" for leak in card.known_leaks]
    return lines or ["None known, none found: no patient, image or near-duplicate in two splits."]


def _trivial(card: DataCard) -> list[str]:
    rows = [
        (
            "Image AUROC on the test split; 0.5 = the number tells nothing. Either way: the larger of "
            "it and its complement, for a number knows no direction."
        ),
        "",
        "| statistic | AUROC | 95 % interval | either way | |",
        "|---|---|---|---|---|",
    ]
    rows += [_trivial_row(one) for one in card.trivial]
    return rows


def _trivial_row(one: TrivialBaseline) -> str:
    name = one.statistic.replace("-", " ")
    if one.auroc is None or one.either_way is None:
        return f"| {name} | NA | NA | NA | {one.reason} |"
    has_interval = one.low is not None and one.high is not None
    interval = f"{one.low:.3f} to {one.high:.3f}" if has_interval else "NA"
    marks = [one.reason] if one.reason else []
    if is_give_away(one):
        marks.insert(0, "gives the label away")
    return f"| {name} | {one.auroc:.3f} | {interval} | {one.either_way:.3f} | {'; '.join(marks)} |"


def is_give_away(one: TrivialBaseline) -> bool:
    """Whether the statistic tells the class, surely and by much."""
    if one.either_way is None or one.low is None or one.high is None:
        return False
    return one.either_way >= GIVE_AWAY and not one.low <= 0.5 <= one.high


def _rights(card: DataCard) -> Iterable[str]:
    may = "may" if card.images_may_be_shown else "may not"
    yield f"- Source: {card.source}"
    yield f"- Access: {card.access}"
    yield f"- Licence: {card.licence}"
    yield f"- Images {may} be shown on a published site: {card.show_evidence}"
    yield f"- Cite: {card.citation}"
