"""Attacks 2, 3 and 23 on hidden packs: no pixel, id, patient, label or score leaves the machine."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.benchmarks import Pack, open_pack
from harness.board.public_rows import published
from harness.board.rows import summarise
from harness.common.statuses import Cause, Status
from harness.console import cli
from harness.publishing.public_form import public_form, public_problems
from harness.publishing.site_build import build_site
from harness.records.record import Record
from harness.records.store import Store
from harness.running.trying import NO_LOG
from tests.hostile.conftest import small_pack

pytestmark = pytest.mark.engine

HASH = "sha256:" + "0" * 64
FILE, PATIENT = "plantedkey", "plantedpatient"


@pytest.fixture(scope="module")
def planted(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """A hidden pack whose names, patients and pixels can be found again in any text."""
    root = tmp_path_factory.mktemp("planted")
    small_pack(cache, root, visibility="hidden", seed="planted")
    random = np.random.default_rng(7)
    for path in sorted(root.rglob("*.png")):
        if path.parent.name == "img":
            pixels = np.array(Image.open(path))
            pixels[0] = random.integers(1, 256, pixels.shape[1])
            Image.fromarray(pixels).save(path)
        path.rename(path.with_name(re.sub(r"^p(\d+)_", rf"{FILE}-{PATIENT}\1_", path.name)))
    card = root / "pack.toml"
    rule = rf'["{FILE}-(?P<patient>{PATIENT}\\d+)_\\d"]'
    lines = card.read_text().splitlines()
    told = [f"name_rules = {rule}" if line.startswith("name_rules") else line for line in lines]
    card.write_text("\n".join(told) + "\n")
    pack = open_pack(root, cache)
    assert all(sample.group.startswith(PATIENT) for sample in pack.split("test"))
    return pack


def markers(pack: Pack, scores: list[float]) -> list[bytes]:
    """Everything that must not be found anywhere, in the forms in which it could be written."""
    found = [FILE.encode(), PATIENT.encode()]
    for split in ("valid", "test"):
        for sample in pack.split(split):
            row = pack.image(sample)[0].tobytes()
            found += [
                row[:12],
                row[:12].hex().encode(),
                base64.b64encode(row)[:16],
                ", ".join(map(str, row[:6])).encode(),
                sample.pixel_sha256.removeprefix("sha256:")[:16].encode(),
            ]
    return [*found, *(text for score in scores for text in written(score))]


def written(score: float) -> list[bytes]:
    return [repr(score).encode(), f"{score:.4f}".encode(), np.float64(score).tobytes()]


HOW = ("log", "crash", "type", "id", "dtype", "field", "score", "line", "shape")


@pytest.mark.parametrize("how", HOW)
def test_2_nothing_of_a_hidden_image_is_in_any_byte_that_is_shown(
    attack, planted, tmp_path, monkeypatch, how
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    run = attack("prints_images", "--set", f"how={how}", "--json", pack=planted, site=True)
    assert run.record.is_ok is (how == "log"), run.record.outcome
    scores = [
        1234.5 + float(planted.image(s).mean(dtype=np.float32)) for s in planted.split("test")
    ]
    hidden = markers(planted, scores)
    store = Store(run.results)
    name = store.name_of(run.record)
    public = public_form(run.record, store.salt(name, run.record)).model_dump_json()
    shown = {"terminal": run.terminal.encode(), "public record": public.encode()}
    # The evidence holds keys and scores by design, under a hash: it stays with the maintainer.
    private = {store.evidence_path(name), store.salt_path(name)}
    for folder in (run.results, run.results.parent / "site", temporary):
        shown |= {
            str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p not in private
        }
    assert store.record_path(name).read_bytes() in shown.values()
    assert any(path.endswith("index.html") for path in shown)
    leaks = {path: m for path, content in shown.items() for m in hidden if m in content}
    assert not leaks
    assert not store.log_path(name).exists()
    assert "SPY" not in run.terminal
    assert run.record.outcome.log is None
    # Why no log is told, and no cause that the entry's own words would give.
    assert (NO_LOG.partition(":")[0] in run.terminal) is (how != "log")
    assert "| " not in run.terminal
    assert run.record.outcome.cause is not Cause.NO_NETWORK


def test_2_the_search_would_find_each_marker_in_an_open_run(
    attack, planted, tmp_path, cache
) -> None:
    """The same entry on the same images, open: what it wrote is in its log."""
    root = tmp_path / "opened"
    shutil.copytree(planted.root, root)
    card = root / "pack.toml"
    card.write_text(card.read_text().replace('"hidden"', '"open"'))
    pack = open_pack(root, cache)
    run = attack("prints_images", "--set", "how=crash", pack=pack)
    log = run.log.encode()
    assert sum(m in log for m in markers(pack, [])) >= 3 * 3


NAMED = {"printable": Status.OK, "unprintable": Status.BAD_MODEL, "undecodable": Status.BAD_MODEL,
         "link": Status.BAD_MODEL, "crash": Status.CRASHED}  # fmt: skip


@pytest.mark.parametrize("how", NAMED)
def test_26_no_name_and_no_step_that_an_entry_chose_leaves_a_hidden_pack(
    attack, planted, tmp_path, monkeypatch, how
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("BMAD_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(cli, "QUIET_SECONDS", 0.0)
    run = attack("names_things", "--set", f"how={how}", pack=planted, site=True)
    assert run.record.outcome.status is NAMED[how], run.record.outcome
    store = Store(run.results)
    name = store.name_of(run.record)
    public = public_form(run.record, store.salt(name, run.record)).model_dump_json()
    assert "checkpoint 1: " in run.terminal
    shown = {"terminal": run.terminal.encode(), "public record": public.encode()}
    private = {store.evidence_path(name), store.salt_path(name), store.record_path(name)}
    for folder in (run.results, run.results.parent / "site", temporary):
        shown |= {
            str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p not in private
        }
    steps = {
        str((1 << 48 | int.from_bytes(planted.image(sample)[0].tobytes()[:5])) + more).encode()
        for sample in planted.split("valid")
        for more in (0, 1)
    }
    hidden = [b"PLANTED", b"fix: PLANTED", *markers(planted, []), *steps]
    assert {path: m for path, content in shown.items() for m in hidden if m in content} == {}
    # The exact record, which stays with the maintainer, holds the steps; words never.
    exact = store.record_path(name).read_bytes()
    assert [m for m in hidden if m in exact and m not in steps] == []


def test_26_the_same_names_are_told_of_an_open_pack_for_what_they_are(attack, tmp_path) -> None:
    run = attack("names_things", "--set", "how=unprintable")
    detail = run.record.outcome.detail
    assert run.record.outcome.status is Status.BAD_MODEL
    assert detail.startswith("the model folder: a file has a name")
    assert r"\x1b[31mPLANTED-" in detail
    assert r"\nfix: PLANTED-" in detail
    assert "\x1b" not in run.terminal
    assert "\nfix: PLANTED" not in run.terminal


def values(records: list[Record]) -> list[tuple]:
    """What is published of the metrics."""
    (row,) = published(summarise(records))
    return [(m.id, m.grid, m.mean, m.std, m.step) for m in row.metrics]


def test_2_of_the_audit_of_a_hidden_run_the_verdict_alone_is_published(make_record) -> None:
    audit = {"verdict": "adapts to the test set", "images": 32, "tolerance": None,
             "detail": "fresh starts answer 7 of 32 images differently", "seconds": 12.3456}  # fmt: skip
    record = make_record(visibility="hidden", track="sealed", audit=audit, answers=HASH)
    public = public_form(record, "salt")
    assert public_problems(public) == []
    assert public.answers is None
    assert public.audit.verdict == "adapts to the test set"
    assert (public.audit.detail, public.audit.seconds) == ("", 12.0)
    (row,) = published(summarise([public]))
    assert row.audit_marks == ("adapts to the test set",)
    open_audit = record.model_copy(update={"public": public.public})
    assert {"answers must be left out", "audit.detail must be left out"} <= set(
        public_problems(open_audit)
    )


def test_3_two_entries_that_differ_in_one_image_are_published_alike(attack, sealed_small) -> None:
    one = attack("one_differs", pack=sealed_small, results="one")
    exact = one.record.metric("image_auroc", None)
    (row,) = published(summarise([one.record]))
    step = row.metric("image_auroc", None).step
    victim, more = swap_of_one_pair(sealed_small, exact.value, step)
    other = attack(
        "one_differs", "--set", f"victim={victim}", "--set", f"more={more}",
        pack=sealed_small, results="other",
    )  # fmt: skip
    assert one.record.is_ok
    assert other.record.is_ok
    assert other.record.metric("image_auroc", None).value != exact.value, "the exact numbers tell"
    told = {(m[0], m[1]): m for m in values([one.record])}
    for found in values([other.record]):
        if found[0] == "image_auroc":
            assert found == told[found[0], found[1]]
    assert "seeds" not in json.dumps(vars(row), default=str) or not row.metrics[0].seeds


def swap_of_one_pair(pack: Pack, auroc: float, step: float) -> tuple[str, float]:
    """An image and what to add to its score, so that one pair changes places, away from an edge."""
    scored = sorted(
        (float(pack.image(sample).std()), sample.is_anomalous, sample)
        for sample in pack.split("test")
    )
    pairs = pack.split("test")
    normal = sum(not sample.is_anomalous for sample in pairs)
    change = 1 / (normal * (len(pairs) - normal))
    for (low, is_low, sample), (high, is_high, _) in itertools.pairwise(scored):
        after = auroc + (change if is_low else -change)
        if is_low != is_high and round(after / step) == round(auroc / step):
            digest = hashlib.sha256(pack.image(sample).tobytes()).hexdigest()
            return digest, 1.5 * (high - low)
    raise AssertionError("no pair can change places away from a rounding edge")


def image_level(pack: Pack, root: Path, anomalous: set[str], cache: Path) -> Pack:
    """The pack's test images with other labels, and no masks."""
    for split in ("train", "valid"):
        for sample in pack.split(split):
            copy(sample.image_path, root / split, is_anomalous=sample.is_anomalous)
    for sample in pack.split("test"):
        copy(sample.image_path, root / "test", is_anomalous=sample.key in anomalous)
    card = (pack.root / "pack.toml").read_text().replace("has_masks = true", "has_masks = false")
    (root / "pack.toml").write_text(card)
    return open_pack(root, cache)


def copy(source: Path, split: Path, *, is_anomalous: bool) -> None:
    target = split / ("Ungood" if is_anomalous else "good") / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def level(pack: Pack, sample) -> int:
    """The score that `level_per_image` gives."""
    digest = hashlib.sha256(pack.image(sample).tobytes()).digest()
    return int.from_bytes(digest[:2], "big") % 60000


def test_23_two_labellings_with_equal_aggregates_are_published_as_the_same_bytes(
    attack, sealed_small, cache, tmp_path
) -> None:
    samples = sorted(sealed_small.split("test"), key=lambda s: level(sealed_small, s))
    keys = [sample.key for sample in samples]
    # By ascending score 0 1 0 1 … ; the second labelling swaps two pairs in opposite directions,
    # so that the ranks of the anomalous images have the same sum.
    one = set(keys[1::2])
    other = one ^ {keys[0], keys[1], keys[4], keys[3]}
    runs, packs = [], []
    for name, labels in (("one", one), ("other", other)):
        packs.append(image_level(sealed_small, tmp_path / name / "pack", labels, cache))
        runs.append(attack("level_per_image", pack=packs[-1], results=name + "/results"))
    assert all(run.record.is_ok for run in runs)
    first, second = (run.record for run in runs)
    assert first.evidence != second.evidence, "the private evidence does tell them apart"
    assert values([first]) == values([second])
    # What differs by itself: the pack's own hash, and what the clock said.
    alike = {"pack": first.pack, "run_key": first.run_key, "times": first.times, "cost": first.cost}
    published_forms, sites = [], []
    for run, record in zip(runs, (first, second.model_copy(update=alike)), strict=True):
        store = Store(run.results)
        name = store.name_of(record)
        evidence = store.evidence_path(name).read_bytes()
        store.save(name, record, write_evidence=lambda path, e=evidence: path.write_bytes(e))
        published_forms.append(
            public_form(record.sealed(), "salt").model_dump(exclude={"public", "record_hash"})
        )
        site = build_site(
            run.results, tmp_path / f"{run.results.parent.name}-site", published=tmp_path / "none"
        ).parent
        sites.append(
            {str(p.relative_to(site)): p.read_bytes() for p in site.rglob("*") if p.is_file()}
        )
    assert published_forms[0] == published_forms[1]
    assert sites[0].keys() == sites[1].keys()
    assert [path for path in sites[0] if sites[0][path] != sites[1][path]] == []
