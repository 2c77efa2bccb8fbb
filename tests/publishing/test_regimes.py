"""Runs of other regimes leave the machine as one-class does: bundled, verified, checked, recomputed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import IS_CI

if not IS_CI:  # where it may not be skipped
    pytest.importorskip("cryptography", reason="cryptography joined the lock: run `make env` once")

from harness import bundle, compare, evaluate, score
from harness.benchmarks import demo_pack
from harness.board.entry_comparison import check_one_pack
from harness.common.errors import BundleBroken, StoreUnusable, UsageError
from harness.publishing import pack_check, signing, verification
from harness.publishing.public_form import public_form, public_problems
from harness.publishing.publication import _metric_problems
from harness.publishing.pull_request import _RUN
from harness.publishing.signed_bundle import RECORD, seal, unseal
from harness.records.record import Record
from harness.records.store import Store, read_record
from tests.paths import ENTRIES

PLACES = ("demo@shots-2", "pair@unified")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few-shot run, and one on a suite of two packs."""
    folder = tmp_path_factory.mktemp("regimes")
    own = demo_pack(folder / "cache", seed="x", name="own").root
    suite = folder / "pair.toml"
    suite.write_text('name = "pair"\nmembers = ["demo", "own"]\n')
    call = [str(ENTRIES / "trainer"), "--engine", "process", "--results", str(folder / "results")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BMAD_CACHE", str(folder / "cache"))
        assert evaluate.main([*call, "--no-site", "--train", "shots:2"]) == 0
        suite_call = ["--suite", str(suite), "--pack", str(own)]
        assert evaluate.main([*call, "--no-site", *suite_call]) == 0
    return folder / "results"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    signing.generate_key(folder / "ada.pem", folder / "public" / "ada.pem")
    return folder / "ada.pem"


def path_of(results: Path, place: str) -> Path:
    return results / place / "trainer" / "seed-0.json"


@pytest.mark.parametrize("place", PLACES)
def test_its_bundle_is_verified_offline_and_every_members_metrics_follow(
    results: Path, key: Path, tmp_path: Path, place: str
) -> None:
    path = path_of(results, place)
    call = ["export", str(path), "--key", str(key), "--out", str(tmp_path)]
    assert bundle.main(call) == 0
    (made,) = tmp_path.glob("*.zip")
    keys = signing.trusted(key.parent / "public")
    report = verification.verify(made, keys)
    assert report.run == f"{place}/trainer/seed-0"
    assert report.exact + report.certified == report.metrics > 20

    parts = unseal(made.read_bytes(), keys, where="")
    data = json.loads(parts.record)
    changed = next(m for m in data["metrics"] if m["value"] is not None and m["member"] != "own")
    changed["value"] = changed["value"] / 2
    forged = (Record.model_validate(data).sealed().model_dump_json(indent=1) + "\n").encode()
    told = {RECORD: forged, "evidence.npz": parts.evidence}
    made.write_bytes(seal(report.run, told, signing.read_private(key)))
    with pytest.raises(BundleBroken) as caught:
        verification.verify(made, keys)
    where = Record.model_validate(data).metrics[data["metrics"].index(changed)].where
    assert any(f"{changed['id']} ({where})" in each for each in caught.value.problems)


def test_its_metrics_are_recomputed_and_its_intervals_renewed(
    results: Path, capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert score.main(["--results", str(results), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["run"] for row in rows} == {f"{place}/trainer/seed-0" for place in PLACES}
    assert {"demo, image", "own, native", "mean, paper", "image"} <= {row["where"] for row in rows}
    assert all(row["agrees"] for row in rows)
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    before = {place: read_record(path_of(copy, place)).metrics for place in PLACES}
    monkeypatch.setattr("harness.metrics.METRICS_VERSION", "of tomorrow")
    assert score.main(["--results", str(copy), "--renew"]) == 0
    for place in PLACES:
        renewed = read_record(path_of(copy, place))
        assert renewed.metrics_version == "of tomorrow"
        assert renewed.metrics == before[place]


def test_its_name_members_and_metrics_are_held_to_what_the_harness_writes(results: Path) -> None:
    record = read_record(path_of(results, "pair@unified"))
    assert re.fullmatch(_RUN.pattern, f"{record.place}/{record.entry.name}/seed-0")
    assert list(pack_check.suite_problems(record)) == []
    assert [p for metric in record.metrics for p in _metric_problems(metric)] == []
    first, second = record.members
    suite = record.pack

    def told(**changes: object) -> str:
        return "; ".join(pack_check.suite_problems(record.model_copy(update=changes)))

    assert "digest of its suite is not that" in told(members=(second, first, first))
    hidden = first.model_copy(update={"visibility": "hidden"})
    assert told(members=(hidden, second)) == "one hidden member makes the whole record hidden"
    named = suite.model_copy(update={"benchmark": "unified-3"})
    assert told(pack=named) == "its suite stands as pair, not as unified-3"
    regime = record.regime.model_copy(update={"suite": "unified-3"})
    assert "the members of unified-3 are brain, liver, resc" in told(regime=regime)
    regime = record.regime.model_copy(update={"suite": "unified-9"})
    assert "unified-9 is no suite of the board" in told(regime=regime)
    odd = record.metrics[0].model_copy(update={"member": "brain"})
    assert "metrics of brain, which is no member" in told(metrics=[odd])


def test_the_public_form_of_a_hidden_run_keeps_members_and_tells_no_drawn_image(
    results: Path,
) -> None:
    for place in PLACES:
        record = read_record(path_of(results, place))
        packs = [pack.model_copy(update={"visibility": "hidden"}) for pack in record.members]
        pack = record.pack.model_copy(update={"visibility": "hidden"})
        hidden = record.model_copy(update={"pack": pack, "members": tuple(packs)}).sealed()
        public = public_form(hidden, "salt")
        assert public_problems(public) == []
        assert {m.member for m in public.metrics} == {m.member for m in record.metrics}
        assert public.regime == record.regime.without_keys()
        if place == "demo@shots-2":
            assert len(record.regime.drawn) == 2
            told = public.model_copy(update={"regime": record.regime})
            assert "regime.drawn must be left out" in public_problems(told)


def test_entries_are_compared_within_a_regime_and_never_across(
    results: Path, tmp_path: Path, capsys
) -> None:
    store, copy = Store(tmp_path / "results"), tmp_path / "results"
    for place in PLACES:
        shutil.copytree(results / place, copy / place)
        twin = copy / place / "twin"
        shutil.copytree(copy / place / "trainer", twin)
        record = read_record(twin / "seed-0.json")
        entry = record.entry.model_copy(update={"name": "twin"})
        renamed = record.model_copy(update={"entry": entry}).sealed()
        (twin / "seed-0.json").write_text(renamed.model_dump_json(indent=1))
    shutil.rmtree(copy / "demo@shots-2" / "twin")
    call = ["--results", str(copy)]
    assert compare.main([*call, "--unranked", "--json"]) == 0
    few, unified = json.loads(capsys.readouterr().out)
    assert [few["benchmark"], unified["benchmark"]] == list(PLACES)
    members = {column["member"] for column in unified["columns"]}
    assert members == {"demo", "own", "mean", None}
    assert {column["member"] for column in few["columns"]} == {None}
    pooled = [c for c in unified["columns"] if c["metric"] == "pooled_image_auroc"]
    assert [standing["rank"] for standing in pooled[0]["standings"]] == [1, 1]

    assert compare.main(["trainer", "twin", "--benchmark", "pair@unified", *call, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shown = {(row["metric"], row["member"]) for row in found["metrics"]}
    assert {("image_auroc", "mean"), ("pooled_image_auroc", None)} <= shown
    assert {member for _, member in shown} == {"mean", None}
    assert all(row["difference"] == 0 for row in found["metrics"])
    with pytest.raises(UsageError, match="it has on pair@unified, which is another regime"):
        compare.main(["trainer", "twin", "--benchmark", "pair", *call])
    with pytest.raises(UsageError, match="twin has no run on demo@shots-2"):
        compare.main(["trainer", "twin", "--benchmark", "demo@shots-2", *call])
    with pytest.raises(StoreUnusable, match="of different regimes, demo@shots-2, pair@unified"):
        check_one_pack(store.records())


def test_runs_of_one_entry_in_two_regimes_have_places_of_their_own(results: Path) -> None:
    assert [record.place for record in Store(results).records()] == list(PLACES)
