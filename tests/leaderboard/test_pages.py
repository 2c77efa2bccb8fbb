"""What the pages answer: leads, ties, the trivial bar, cost, failures, the paper, what waits."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from harness.board.comparison import Standing
from harness.board.overall_ranks import not_above_trivial
from harness.board.rows import summarise
from harness.board.site_data import (
    BenchmarkCard,
    Material,
    Overall,
    PackLeak,
    TrivialAuroc,
    VerifiedPack,
    Waiting,
)
from harness.common.statuses import STATUS_TABLE, Fault, Status
from harness.publishing.site_build import benchmark_cards
from leaderboard import words
from leaderboard.builder import build
from leaderboard.downloads import SUPERVISION_COLUMNS
from leaderboard.paper import read_paper
from tests.record_factory import comparison

ONE = ("image_auroc", None)


def text_of(html):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def row_of(html, key):
    return re.search(rf'<tr class="[a-z]*" id="{re.escape(key)}".*?</tr>', html, re.S)[0]


@pytest.fixture
def two(make_record):
    return [
        make_record(metrics={ONE: 0.95}),
        make_record(entry="padim", title="PaDiM", metrics={ONE: 0.90}),
    ]


def first_is_better(made):
    [column] = made.columns
    best, other = column.standings
    if best.entry != "patchcore":
        best, other = other, best
    best = replace(best, ties=(), stability=(1.0, 0.0))
    other = replace(other, ties=(), rank=2, better=("patchcore",), stability=(0.0, 1.0))
    return replace(made, columns=(replace(column, standings=(best, other)),))


def compared_site(build_site, records, made, **more):
    rows = summarise(records, comparisons={"brain": made})
    from harness.board.site_data import Material
    from leaderboard.builder import build

    return rows, lambda out: build(
        Material(rows=rows, records=tuple(records), comparisons={"brain": made}, **more),
        out, version="1", commit=None,
    ).parent  # fmt: skip


def test_a_map_that_the_paper_does_not_give_is_no_value_of_its_column(make_record, tmp_path):
    metrics = {ONE: 0.75, ("pixel_auroc", "native"): 0.8125}
    made = [
        make_record(entry="mkd", title="MKD", metrics=metrics),
        make_record(entry="cs-flow", title="CS-Flow", metrics=metrics, params={"native_map": True}),
    ]
    folder = build(
        Material(rows=summarise(made), records=tuple(made)), tmp_path, version="1", commit=None
    ).parent
    front = (folder / "index.html").read_text()
    plain, extra = (
        text_of(row_of(front, f"six-localisation.{name}.trained-here.container"))
        for name in ("mkd", "cs-flow")
    )
    assert "81.25" in plain
    assert "own map" not in plain
    assert "75.00" in extra
    assert "NA own map: 81.25" in extra
    assert "a map that its paper does not give" in extra


def test_a_tie_is_told_as_a_tie(build_site, two, tmp_path):
    _, build = compared_site(build_site, two, comparison(two))
    folder = build(tmp_path)
    page = text_of((folder / "benchmarks/brain.html").read_text())
    assert "PaDiM has the highest Image AUROC, but cannot be told from PatchCore." in page
    front = row_of(
        (folder / "index.html").read_text(), "six-localisation.patchcore.trained-here.container"
    )
    assert (
        '<b class="place p1">1=</b><a href="entries/patchcore.html#brain.image_auroc">95' in front
    )
    entry = (folder / "entries/patchcore.html").read_text()
    why = "Rank 1. No entry of its track is significantly better. It cannot be told from PaDiM."
    assert why in text_of(entry)


def test_a_real_lead_is_told_as_one(build_site, two, tmp_path):
    _, build = compared_site(build_site, two, first_is_better(comparison(two)))
    folder = build(tmp_path)
    page = (folder / "benchmarks/brain.html").read_text()
    assert "PatchCore leads Image AUROC, and the lead is real" in text_of(page)
    assert "[94.00, 96.00]" in page
    front = row_of(
        (folder / "index.html").read_text(), "six-localisation.padim.trained-here.container"
    )
    assert '<b class="place p2">2</b><a href="entries/padim.html#brain.image_auroc">90.00' in front
    entry = text_of((folder / "entries/padim.html").read_text())
    why = "Rank 2. 1 entry is significantly better: PatchCore. It can be told from every other."
    assert why in entry


def test_an_outdated_comparison_shows_no_rank_and_says_so(build_site, two):
    page = text_of((build_site(two, outdated=("brain",)) / "benchmarks/brain.html").read_text())
    assert "made of other records" in page
    assert "python -m harness.compare --benchmark brain" in page


def test_likely_places_hold_the_middle_95_percent():
    def places(*shares):
        return Standing("a", 1, (), (), 1, 0.5, stability=shares).likely_places

    assert places(1.0, 0.0) == (1, 1)
    assert places(0.02, 0.96, 0.02) == (2, 2)
    assert places(0.5, 0.3, 0.2) == (1, 3)
    assert Standing("a", 1, (), (), 1, None).likely_places is None


def test_only_what_is_ranked_everywhere_has_an_average_rank(build_site, two):
    overall = {("localisation", "patchcore", "trained-here"): Overall(1.5, 2)}
    front = (build_site(two, overall=overall) / "index.html").read_text()
    first = row_of(front, "six-localisation.patchcore.trained-here.container")
    assert '<td class="average" data-k="1.5">1.5<small>of 2 ranks</small></td>' in first
    second = row_of(front, "six-localisation.padim.trained-here.container")
    assert re.search(r'<td class="average none">', second)
    assert "Average rank" not in front[front.index('id="six-dice"') :]


def test_what_does_not_beat_a_trivial_baseline_is_marked(build_site, make_record):
    records = [
        make_record(metrics={ONE: 0.5}),
        make_record(entry="trivial-grey", title="Mean grey", metrics={ONE: 0.6}, metadata={"family": "trivial"}),
        make_record(entry="canary", title="Canary", metrics={ONE: 0.9}, metadata={"family": "trivial"}),
    ]  # fmt: skip
    below = not_above_trivial(summarise(records))
    front = (build_site(records, not_above_trivial=below) / "index.html").read_text()
    assert "no better than Mean grey" in row_of(
        front, "six-localisation.patchcore.trained-here.container"
    )
    assert "trivial baseline" in row_of(
        front, "six-localisation.trivial-grey.trained-here.container"
    )
    canary = row_of(front, "six-localisation.canary.trained-here.container")
    assert "looks images up" in canary
    assert "no better" not in canary


def test_a_submission_without_a_record_waits_in_the_table(build_site, make_record):
    waiting = (Waiting("new", "New", "2026-03-01", {}), Waiting("newer", "Newer", "", {}))
    front = (build_site([make_record()], waiting=waiting) / "index.html").read_text()
    assert "since 2026-03-01" in row_of(front, "six-localisation.new.waiting")
    assert "date not given" in row_of(front, "six-localisation.newer.waiting")


def test_every_way_to_fail_is_told_with_its_remedy_and_runs_that_failed_are_named(
    build_site, make_record
):
    failed = make_record(
        entry="bad", title="Bad", seed=3, status=Status.IMAGE_TIMEOUT, detail="image 12 of 40"
    )
    page = (build_site([make_record(), failed]) / "status.html").read_text()
    text = text_of(page)
    assert "1 of 2 runs ended by the entry’s fault" in text
    assert "image 12 of 40" in text
    assert 'href="entries/bad.html#failed-brain-trained-here-container-3"' in page
    for status, told in STATUS_TABLE.items():
        is_told = told.fault is Fault.ENTRY or status is Status.NOT_APPLICABLE
        assert (told.remedy in text) == is_told


def test_what_a_method_had_learned_from_stands_in_its_line_and_on_its_page(build_site, make_record):
    declared = {
        "shots_normal": 4, "shots_abnormal": 4, "foreign_labels": ["VisA:test"],
        "contamination": {"default": "none", "brain": "images"},
    }  # fmt: skip
    few = make_record(entry="few", title="Few", entry__supervision=declared)
    silent = make_record(entry="silent", title="Silent")
    site = build_site([few, silent])
    front = (site / "index.html").read_text()
    line = row_of(front, "six-localisation.few.trained-here.container")
    assert 'data-labels="abnormal" data-seen="images"' in line
    assert "abnormal images pretraining: saw its images" in text_of(line)
    line = row_of(front, "six-localisation.silent.trained-here.container")
    assert 'data-labels="unknown" data-seen="unknown"' in line
    page = text_of((site / "entries" / "few.html").read_text())
    assert "4 normal, 4 abnormal; foreign labels: VisA:test" in page
    assert "images of brain, none of the others" in page
    (told,) = [
        row for row in csv.DictReader((site / "data/leaderboard.csv").read_text().splitlines())
        if (row["entry"], row["metric"], row["grid"]) == ("few", "image_auroc", "")
    ]  # fmt: skip
    assert [told[name] for name in SUPERVISION_COLUMNS] == [
        "abnormal", "4", "4", "VisA:test", "images",
    ]  # fmt: skip
    rows = json.loads((site / "data/leaderboard.json").read_text())["rows"]
    assert [row["supervision"] for row in rows] == [declared, None]


def test_what_a_method_cannot_do_is_na_in_its_cell_and_no_failed_run(build_site, make_record):
    refused = make_record(
        entry="deep", title="Deep", status=Status.NOT_APPLICABLE, detail="frame 1"
    )
    site = build_site([make_record(), refused])
    line = text_of(
        row_of((site / "index.html").read_text(), "six-localisation.deep.trained-here.container")
    )
    assert "NA not applicable" in line
    assert "failed" not in line
    page = text_of((site / "status.html").read_text())
    assert "0 of 2 runs ended by the entry’s fault" in page
    assert "frame 1" in page
    entry = text_of((site / "entries" / "deep.html").read_text())
    assert Status.NOT_APPLICABLE.entry.sentence in entry


def test_of_a_hidden_pack_a_failure_has_no_detail(build_site, make_record):
    failed = make_record(visibility="hidden", track="sealed", benchmark="clinic", entry="bad",
                         status=Status.CRASHED, detail="image 12 holds a secret")  # fmt: skip
    assert "secret" not in (build_site([failed]) / "status.html").read_text()


def test_the_paper_page_holds_differences_on_its_grid(build_site, make_record):
    page = (build_site([make_record()]) / "paper.html").read_text()
    # pixel AUROC on the paper's grid 96.512, reported 96.97 ± 0.04
    assert re.search(
        r'data-k="-0.00458"><a [^>]*>−0.46</a><small>96.51</small><small>paper 96.97 ± 0.04', page
    )
    none = (build_site([make_record(title="Unheard of")], name="other") / "paper.html").read_text()
    assert "No method of the paper has been measured yet" in none


@pytest.mark.parametrize("name", ["brain", "liver", "resc", "oct2017", "rsna", "camelyon16"])
def test_a_benchmark_page_tells_source_licence_access_counts_and_leaks(build_site, name):
    cards = benchmark_cards()
    page = text_of((build_site([], cards=cards) / f"benchmarks/{name}.html").read_text())
    card = cards[name]
    for told in (
        card.licence,
        card.access,
        card.citation,
        card.source,
        *card.known_leaks,
        *card.remarks,
    ):
        assert " ".join(told.split()) in page
    assert "geographic bias" in page
    assert f"{card.table1[0]:,} training" in page
    if not card.may_show_images:
        assert card.show_evidence in page


def test_the_counts_of_the_measured_pack_stand_beside_those_of_the_paper(build_site, make_record):
    page = text_of(
        (build_site([make_record()], cards=benchmark_cards()) / "benchmarks/brain.html").read_text()
    )
    assert (
        "7,500 training (all normal), 83 validation, 3,715 test (640 normal, 3,075 anomalous)"
        in page
    )


def test_a_link_of_a_card_is_followed_only_over_http(build_site, make_record):
    card = BenchmarkCard(
        "x", "X", "m", True, None, "l", "c", "javascript:alert(1)", "a", True, "e", (), ()
    )
    page = (
        build_site([make_record(benchmark="x")], cards={"x": card}) / "benchmarks/x.html"
    ).read_text()
    assert 'href="javascript' not in page


def test_every_stumbling_block_is_explained_with_a_link_to_its_definition(build_site, make_record):
    folder = build_site([make_record()])
    guide = (folder / "guide.html").read_text()
    front = (folder / "index.html").read_text()
    linked = set(re.findall(r'href="guide\.html#([a-z0-9-]+)"', front))
    wanted = {"metric-image-auroc", "metric-pixel-pro", "metric-dice-at-0-5", "trained-here", "sealed",
              "open", "na", "two-spreads", "tie", "rank", "delta", "trivial"}  # fmt: skip
    assert wanted <= linked
    for key in linked:
        assert re.search(rf'id="{key}"', guide), key


def test_the_exact_definition_of_a_metric_is_the_harnesss_own(build_site, make_record):
    told = {"pixel_pro": "Area of overlap, exactly so.", "new_metric": "A metric of tomorrow."}
    guide = (build_site([make_record()], definitions=told) / "guide.html").read_text()
    assert "Exactly: Area of overlap, exactly so." in guide
    assert "A metric of tomorrow." in guide


def test_an_entry_page_shows_how_it_was_trained_and_what_was_kept(build_site, make_record):
    training = {
        "steps": 30, "most_checkpoints": 20, "kept": 20, "stop_reason": "patience 1 reached",
        "curve": [{"step": s, "loss": 1 / s} for s in (10, 20, 30)],
        "checkpoints": [
            {"step": s, "metric": "image_auroc", "value": v, "kept": s < 30}
            for s, v in ((10, 0.7), (20, 0.8), (30, 0.75))
        ],
    }  # fmt: skip
    page = (build_site([make_record(training=training)]) / "entries/patchcore.html").read_text()
    assert "0.1 to 0.0333" in page
    assert "Image AUROC 80.00 at step 20" in page
    assert "step 20, patience 1 reached" in page
    assert "at most 4.4 bits" in page
    assert page.count('<svg class="spark"') == 1  # seconds per image
    assert page.count('<figure class="figure') == 2  # loss, checkpoints


def test_a_column_that_nobody_has_a_value_in_is_left_out_and_na_beside_values_is_not(
    build_site, make_record
):
    level = {("image_auroc", None): 0.8, ("pixel_pro", "native"): None}
    front = (build_site([make_record(benchmark="rsna", metrics=level)]) / "index.html").read_text()
    assert 'data-key="rsna.image_auroc"' in front
    assert "rsna.pixel_pro" not in front
    records = [make_record(metrics=level), make_record(entry="padim", title="PaDiM")]
    folder = build_site(records, name="two", paper=())
    assert 'data-key="brain.pixel_pro"' in (folder / "index.html").read_text()
    page = (folder / "entries/patchcore.html").read_text()
    result = page[page.index('<section class="result"') :]
    assert "the entry gives no maps" in result[: result.index("<details")]


def test_the_data_card_of_an_open_pack_is_shown_and_can_be_downloaded(tmp_path: Path) -> None:
    verified = VerifiedPack(
        version="brain-0123456789ab",
        expected=(("Table 1", True),),
        leaks=(PackLeak("patients", ("valid", "test"), 10, 50),),
        trivial=(
            TrivialAuroc("mean grey", 0.5612, 0.51, 0.61),
            TrivialAuroc("image size", None, None, None),
        ),
        problems=(),
        markdown="# brain\n",
        json="{}\n",
    )
    material = Material(verified={"brain": verified})
    out = build(material, tmp_path / "site", version="0.1.0", commit=None).parent
    page = (out / "benchmarks" / "brain.html").read_text()
    assert "10 patients in both valid and test (50 images of test)" in page
    assert "mean grey 56.12 [51.00, 61.00]" in page
    assert "image size NA" in page
    assert (out / "data" / "datacards" / "brain.md").read_text() == "# brain\n"
    assert 'href="../data/datacards/brain.json"' in page
    assert "brain-0123456789ab" not in (out / "benchmarks" / "liver.html").read_text()


def test_every_row_says_which_commit_code_pack_and_machine_made_it(build_site, make_record):
    record = make_record()
    folder = build_site([record])
    row = row_of(
        (folder / "index.html").read_text(), "six-localisation.patchcore.trained-here.container"
    )
    assert "in a container · 0123456789" in text_of(row)
    assert 'href="entries/patchcore.html#brain.image_auroc"' in row
    panel = (folder / "data/cells/patchcore.js").read_text()
    page = text_of((folder / "entries/patchcore.html").read_text())
    for told in (record.entry.identity[-64:][:12], record.pack.version, "NVIDIA H200"):
        assert told in panel
        assert told in page


def test_the_data_card_of_a_pack_that_is_hidden_now_is_not_shown(build_site, make_record):
    card = VerifiedPack("clinic-1", (), (), (), ("leaks a secret",), "a secret", '"a secret"')
    hidden = make_record(benchmark="clinic", visibility="hidden", track="sealed")
    folder = build_site([hidden], verified={"clinic": card, "../../up": card})
    assert not (folder / "data/datacards/clinic.md").exists()
    assert "secret" not in (folder / "benchmarks/clinic.html").read_text()
    assert [p.parent.name for p in folder.parent.rglob("*up--*.md")] == ["datacards"]


def test_the_methods_of_the_board_are_the_papers_and_those_since():
    paper = {value.method for value in read_paper()}
    assert len(paper) == len(words.PAPER_FAMILIES) == 15
    assert {words.method_group(title, {}) for title in paper} == {"bmad"}
    assert words.method_group("patch core", {"family": "memory bank"}) == "bmad"
    assert words.method_group("Dinomaly", {"family": "other"}) == "since"
    assert words.method_group("Mean grey", {"family": "trivial"}) == ""
    assert words.method_group("PatchCore", {"family": "trivial"}) == ""


def test_headings_divide_the_front_page_where_there_is_more_than_one_group(build_site, make_record):
    def headings(*made):
        page = (build_site(made, paper=()) / "index.html").read_text()
        table = re.search(
            r'<table class="board" data-table="six-localisation">.*?</table>', page, re.S
        )[0]
        found = re.findall(
            r'class="heading">.*?<span>(.*?)</span>|class="name">.*?>([^<]+)</a>', table
        )
        return [heading or f"- {name}" for heading, name in found]

    old = make_record(entry="stfpm", title="STFPM", metrics={ONE: 0.7})
    new = make_record(entry="dinomaly", title="Dinomaly", metrics={ONE: 0.9})
    grey = make_record(
        entry="trivial-mean-grey",
        title="Mean grey",
        metadata={"family": "trivial"},
        metrics={ONE: 0.6},
    )
    assert headings(old) == ["- STFPM"]
    assert headings(new, old, grey) == [
        "BMAD’s fifteen", "- STFPM", "Methods since BMAD", "- Dinomaly", "Trivial baselines and look-ups", "- Mean grey",
    ]  # fmt: skip


def test_without_ranks_rows_stand_by_their_score_and_the_caption_says_so(build_site, make_record):
    def run(entry, score=0.5, **options):
        metrics = {("image_auroc", None): score}
        return make_record(
            entry=entry, title=entry.title(), benchmark="demo", metrics=metrics, **options
        )

    records = [
        run("aaa", status=Status.CRASHED),
        run("alpha", 0.7, ranked=False, unranked_reason="demonstration pack"),
        run("beta", 0.9, ranked=False, unranked_reason="demonstration pack"),
    ]
    index = (build_site(records) / "index.html").read_text()
    table = index[index.index('id="demo-localisation"') :]
    places = [table.index(f">{name}</a>") for name in ("Beta", "Alpha", "Aaa")]
    assert places == sorted(places)
    assert "in order of Image AUROC" in table
