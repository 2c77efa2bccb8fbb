"""Opening a folder as a pack: read every file once, list all problems, or give it a version id.

Nothing in the folder is ever written. The version id depends on splits, labels, decoded pixels
and binarised masks alone: not on the folder's name, the spelling of its subfolders, file names,
or how a PNG was packed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.benchmarks import checks, remarks
from harness.benchmarks.cache import write_atomically
from harness.benchmarks.card import (
    CARD_NAME,
    Counts,
    Groups,
    PackCard,
    StatedCard,
    contradictions,
    default_card,
    over,
    pack_name,
    read_stated_card,
    stated_by_spec,
)
from harness.benchmarks.groups import read_groups
from harness.benchmarks.known import known_releases
from harness.benchmarks.layout import Layout, find_root, read_layout
from harness.benchmarks.pack import Pack, Sample
from harness.benchmarks.problems import Problem, listed
from harness.benchmarks.scan import ImageFacts, MaskFacts, Scan, Scanner
from harness.benchmarks.spec import BenchmarkSpec, NameReading, read_name
from harness.benchmarks.specs import BENCHMARKS
from harness.benchmarks.version import (
    content_digest,
    patients_digest,
    version_id,
    version_line,
)
from harness.common.disclosure import Artefact, is_sealed, may_leave
from harness.common.errors import DataMissing, PackInvalid
from harness.common.progress import CountProgress
from harness.records.releases import KnownReleases


@dataclass(frozen=True)
class _Claims:
    """What is said about a folder before an image is read."""

    stated: StatedCard
    """The folder's own card."""
    card: StatedCard
    """That card, over the spec's, over the cautious default."""
    spec: BenchmarkSpec | None
    """The benchmark it claims to be, where it is a known one."""
    problems: tuple[Problem, ...]
    """What is wrong with the folder's card."""


@dataclass(frozen=True)
class _Contents:
    """What was found in a folder."""

    layout: Layout
    """Which file is which image."""
    native: Scan
    """Facts of the files as they are."""
    scan: Scan
    """The same with all images in one mode."""
    has_masks: bool
    """Whether masks count."""


def open_pack(
    folder: Path,
    cache: Path,
    *,
    benchmark: str | None = None,
    known: KnownReleases | None = None,
    on_progress: CountProgress | None = None,
) -> Pack:
    """Read a folder in BMAD's layout, in any of its spellings.

    Args:
        folder: the pack, or a folder around it.
        cache: where to remember what was read; the made card is written there too.
        benchmark: name of the benchmark it was found as; without it the folder's `pack.toml`
            or its own name decides.
        known: which contents are which benchmark; None = the list that is committed here.
        on_progress: called with (files read, files to read) while files are decoded.

    Raises:
        DataMissing: there is no such folder.
        PackInvalid: with all problems of the folder.
    """
    root = _root_of(folder)
    claims = _claims(folder, root, benchmark)
    contents = _contents(root, claims.card, Scanner(root, cache, on_progress))
    twins = checks.identical_images(contents.layout, contents.scan.images)
    clashes, shared = checks.shared_images(twins, claims.card.shared_images or ())
    problems = [*claims.problems, *_problems(contents, claims.card), *clashes]
    problems += checks.contradicting_labels(twins, claims.card.shared_images or ())
    stated_groups, wrong = read_groups(root, {image.key for image in contents.layout.images})
    if problems := [*problems, *wrong]:
        raise PackInvalid(str(folder), listed(problems))

    readings = {
        image.key: read_name(Path(image.key).stem, claims.card.name_rules or ()).under(
            stated_groups.get(image.key)
        )
        for image in contents.layout.images
    }
    if is_sealed(claims.card.visibility):
        told = {key: reading.group for key, reading in readings.items()}
        independent = claims.card.patients == "independent"
        if wrong := checks.unsaid_patients(contents.layout, told, is_independent=independent):
            raise PackInvalid(str(folder), listed(wrong))
    samples = _samples(contents, readings)
    lines = _version_lines(contents)
    digest = content_digest(lines.values())
    card = _made_card(claims.card, contents, samples, readings, digest)
    notes = [
        *(card.remarks),
        *remarks.about_counts(card.counts, claims.spec),
        *remarks.about_files(contents.layout, has_masks=contents.has_masks),
        *remarks.about_pixels(contents.layout, contents.native),
        *remarks.about_repeats(twins, shared),
        *remarks.about_groups(
            contents.layout, readings, is_independent=claims.card.patients == "independent"
        ),
    ]
    card = card.model_copy(update={"remarks": tuple(dict.fromkeys(notes))})
    if wrong := contradictions(claims.stated, card):
        raise PackInvalid(str(folder), listed(wrong))
    write_atomically(cache / "cards" / card.version / CARD_NAME, card.as_toml().encode())
    return Pack(
        name=(known or known_releases()).name_of(card.name, digest),
        version=card.version,
        digest=digest,
        patients=patients_digest((line, readings[key].group) for key, line in lines.items()),
        root=root,
        card=card,
        samples=samples,
        has_masks=contents.has_masks,
    )


def _root_of(folder: Path) -> Path:
    """The folder that holds the splits; `folder` itself where none does."""
    if not folder.is_dir():
        raise DataMissing(
            "there is no such folder", where=str(folder), fix="check the path, or mount the disk"
        )
    roots = find_root(folder)
    if len(roots) > 1:
        names = ", ".join(str(root.relative_to(folder)) for root in roots)
        raise PackInvalid(
            str(folder), [f"the folder holds several packs: {names}; give one of them"]
        )
    return roots[0] if roots else folder


def _claims(folder: Path, root: Path, benchmark: str | None) -> _Claims:
    stated, problems = read_stated_card([folder, root])
    name = stated.name or benchmark or pack_name(folder)
    if benchmark not in (None, name):
        problems.append(
            Problem(
                "card", f"{CARD_NAME} says that this is {name}, but it was opened as {benchmark}"
            )
        )
    spec = BENCHMARKS.get(stated.base or name)
    card = over(stated, default_card(name))
    if spec is not None:
        card = over(stated, over(stated_by_spec(spec), default_card(name)))
    if not may_leave(Artefact.PICTURES, card.visibility):
        if stated.images_may_be_shown:
            problems.append(Problem("card", f"{CARD_NAME}: a hidden pack's images are never shown"))
        hiding = {"images_may_be_shown": False, "show_evidence": "the pack is hidden"}
        card = card.model_copy(update=hiding)
    return _Claims(stated, card, spec, tuple(problems))


def _contents(root: Path, card: StatedCard, scanner: Scanner) -> _Contents:
    layout = read_layout(root)
    has_masks = card.has_masks
    if has_masks is None:
        has_masks = any(image.mask_key for image in layout.images if image.is_anomalous)
    native = scanner.read(layout, with_masks=has_masks)
    grey = [
        key
        for key, fact in native.images.items()
        if isinstance(fact, ImageFacts) and fact.mode == "L"
    ]
    scan = native
    if 0 < len(grey) < sum(isinstance(fact, ImageFacts) for fact in native.images.values()):
        scan = Scan({**native.images, **scanner.read_as_rgb(grey)}, native.masks)
    return _Contents(layout, native, scan, has_masks)


def _problems(contents: _Contents, card: StatedCard) -> list[Problem]:
    problems = [*contents.layout.problems, *checks.unreadable_files(contents.scan)]
    if contents.has_masks:
        problems += checks.wrong_masks(contents.layout, contents.scan)
    if is_sealed(card.visibility):
        problems += checks.unequal_sizes(contents.scan.images)
    return problems


def _samples(contents: _Contents, readings: Mapping[str, NameReading]) -> tuple[Sample, ...]:
    """Only called without problems: every image has been read, every mask it needs is there."""
    root = contents.layout.root
    samples = []
    for image in contents.layout.images:
        facts, reading = contents.scan.images[image.key], readings[image.key]
        assert isinstance(facts, ImageFacts)  # noqa: S101  # unreadable ones are problems
        has_mask = contents.has_masks and image.is_anomalous and image.mask_key is not None
        samples.append(
            Sample(
                key=image.key,
                split=image.split,
                is_anomalous=image.is_anomalous,
                group=reading.group or image.key,
                subclass=reading.subclass if image.is_anomalous else None,
                image_path=root / image.key,
                mask_path=root / str(image.mask_key) if has_mask else None,
                height=facts.height,
                width=facts.width,
                pixel_sha256=facts.pixel_sha256,
            )
        )
    return tuple(samples)


def _made_card(
    card: StatedCard,
    contents: _Contents,
    samples: Iterable[Sample],
    readings: Mapping[str, NameReading],
    digest: str,
) -> PackCard:
    samples = tuple(samples)
    counted = Counter((sample.split, sample.is_anomalous) for sample in samples)
    sizes = Counter(f"{sample.width}x{sample.height}" for sample in samples)
    facts = [fact for fact in contents.scan.images.values() if isinstance(fact, ImageFacts)]
    units = {reading.unit for reading in readings.values() if reading.unit}
    found = {
        "version": version_id(str(card.name), digest),
        "has_masks": contents.has_masks,
        "mode": facts[0].mode,
        # The most frequent first; equal counts by name, so that the order is no accident.
        "sizes": tuple(sorted(sizes, key=lambda size: (-sizes[size], size))),
        "group_unit": None if not units else units.pop() if len(units) == 1 else "mixed",
        "counts": Counts(
            train=counted["train", False],
            valid_normal=counted["valid", False],
            valid_anomalous=counted["valid", True],
            test_normal=counted["test", False],
            test_anomalous=counted["test", True],
        ),
        "groups": Groups(
            train=_groups("train", samples, readings),
            valid=_groups("valid", samples, readings),
            test=_groups("test", samples, readings),
        ),
    }
    return PackCard.model_validate({**card.model_dump(exclude_none=True), **found})


def _groups(
    split: str, samples: Iterable[Sample], readings: Mapping[str, NameReading]
) -> int | None:
    """Number of patients in a split; None where one image's patient is unknown, or it is empty."""
    groups = {readings[sample.key].group for sample in samples if sample.split == split}
    return len(groups) if groups and None not in groups else None


def _version_lines(contents: _Contents) -> dict[str, str]:
    """By key, the line of every image; a normal image's mask is empty by definition, so it does not count."""
    lines = {}
    for image in contents.layout.images:
        facts = contents.scan.images[image.key]
        assert isinstance(facts, ImageFacts)  # noqa: S101  # unreadable ones are problems
        mask = contents.scan.masks.get(image.mask_key or "") if image.is_anomalous else None
        lines[image.key] = version_line(
            image.split,
            is_anomalous=image.is_anomalous,
            pixel_sha256=facts.pixel_sha256,
            mask_sha256=mask.mask_sha256 if isinstance(mask, MaskFacts) else "",
        )
    return lines
