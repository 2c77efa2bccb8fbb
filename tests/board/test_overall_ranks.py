"""Average ranks, the trivial bar and the hardest images: what counts, and what does not."""

from __future__ import annotations

from dataclasses import replace

from harness.board.comparison import Column, Standing
from harness.board.overall_ranks import (
    alarms,
    first_galleries,
    hardest,
    not_above_trivial,
    overall,
    typical_times,
)
from harness.board.rows import summarise
from harness.board.site_data import Alarms, Gallery, GalleryCard, Picture
from tests.record_factory import comparison

ONE = ("image_auroc", None)


def ranked(*names):
    """A standing per name: the first is best, each is below all before it."""
    return tuple(
        Standing(entry=name, rank=place + 1, better=names[:place], ties=(), seeds=1, mean=0.9)
        for place, name in enumerate(names)
    )


def compared(make_record, benchmark, columns):
    made = comparison(
        [make_record(benchmark=benchmark), make_record(entry="b", benchmark=benchmark)]
    )
    return replace(
        made,
        columns=tuple(
            Column("trained-here", metric, None if metric == "image_auroc" else "native", standings)
            for metric, standings in columns.items()
        ),
    )


def test_the_average_is_over_the_columns_of_the_view_and_of_those_in_all_of_them(make_record):
    made = {
        "brain": compared(make_record, "brain", {
            "image_auroc": ranked("a", "b", "c"), "pixel_pro": ranked("b", "a"),
            "dice_at_valid": ranked("b", "a"), "dice_max": ranked("a", "b"),
        }),
        "rsna": compared(make_record, "rsna", {"image_auroc": ranked("a", "c", "b")}),
        "ours": compared(make_record, "ours", {"image_auroc": ranked("b", "a")}),
    }  # fmt: skip
    found = overall(made, ["brain", "rsna"])
    assert found["localisation", "a", "trained-here"].average_rank == (1 + 2 + 1) / 3
    assert found["localisation", "b", "trained-here"].average_rank == (2 + 1 + 3) / 3
    assert found["localisation", "b", "trained-here"].columns == 3
    assert ("localisation", "c", "trained-here") not in found  # it has no PRO
    assert found["dice", "b", "trained-here"].average_rank == 1.0  # the oracle does not count


def test_the_usual_time_is_the_median_of_the_methods_on_one_device(make_record):
    records = [
        make_record(entry="a", median_seconds=1.0),
        make_record(entry="b", median_seconds=2.0),
        make_record(entry="c", median_seconds=9.0),
        make_record(entry="grey", median_seconds=0.001, metadata={"family": "trivial"}),
        make_record(entry="d", median_seconds=50.0, machine__device="cpu"),
        make_record(entry="e", benchmark="resc", median_seconds=3.0),
    ]
    found = typical_times(summarise(records))
    assert list(found) == [("brain", ("NVIDIA H200",))]
    (usual,) = found.values()
    assert (usual.seconds, usual.rows) == (2.0, 3)


def test_what_does_no_better_than_a_trivial_entry_is_named(make_record):
    trivial = {"metadata": {"family": "trivial"}}
    records = [
        make_record(entry="mean-grey", title="Mean grey", metrics={ONE: 0.6}, **trivial),
        make_record(entry="canary", title="Canary", metrics={ONE: 0.99}, **trivial),
        make_record(entry="good", title="Good", metrics={ONE: 0.61}),
        make_record(entry="same", title="Same", metrics={ONE: 0.6}),
        make_record(entry="none", title="None", metrics={ONE: None}),
        make_record(entry="other", title="Other", metrics={ONE: 0.1}, benchmark="liver"),
    ]
    assert not_above_trivial(summarise(records)) == {
        ("brain", "same", "trained-here", "image_auroc"): "Mean grey"
    }


def test_a_trivial_entry_is_a_bar_in_every_regime_on_the_same_images_and_on_no_others(make_record):
    small = {"delivery": "256"}
    few = {"name": "few-shot", "shots": 4}
    records = [
        trivial(make_record, 0.6, regime={"name": None}),
        trivial(make_record, 0.7, regime={"name": None} | small, mark="small"),
        make_record(entry="few", title="Few", metrics={ONE: 0.6}, regime=few),
        make_record(entry="small", title="Small", metrics={ONE: 0.65}, regime=few | small),
        make_record(entry="good", title="Good", metrics={ONE: 0.65}, regime=few),
    ]
    assert not_above_trivial(summarise(records)) == {
        ("brain@shots-4", "few", "trained-here", "image_auroc"): "Mean grey",
        ("brain@shots-4-256", "small", "trained-here", "image_auroc"): "Mean grey",
    }


def trivial(make_record, value, **changes):
    return make_record(
        entry="mean-grey", title="Mean grey", metrics={ONE: value}, metadata={"family": "trivial"},
        **changes,
    )  # fmt: skip


def picture(image, *, role="hard", beyond=0.5, **told):
    return Picture(
        role=role, image=image, is_anomalous=True, subclass=None, score=0.0, beyond=beyond,
        localisation=None, size=(1, 1), shown="a.webp", truth=None, map=None, **told,
    )  # fmt: skip


def gallery(record, *pictures):
    return Gallery(GalleryCard(record.run_key, None, None, "score", 0, pictures), {})


def test_the_hardest_images_are_those_of_most_entries_then_the_deepest(make_record):
    records = [make_record(entry=name, title=name.upper()) for name in ("a", "b", "c")]
    galleries = {
        records[0].run_key: gallery(records[0], picture("x"), picture("y", beyond=0.9)),
        records[1].run_key: gallery(records[1], picture("x"), picture("z", beyond=0.2)),
        records[2].run_key: gallery(records[2], picture("w", role="best")),
    }
    found = hardest(records, galleries)["brain"]
    assert [each.picture.image for each in found] == ["x", "y", "z"]
    assert (found[0].entries, found[0].of) == (("a", "b"), 3)


def test_each_entry_shows_the_pictures_of_its_lowest_seed_that_has_some(make_record):
    records = [make_record(seed=seed) for seed in (0, 1, 2)]
    galleries = {record.run_key: gallery(record, picture("x")) for record in records[1:]}
    assert first_galleries(records, galleries) == [records[1]]
    assert hardest(records, galleries)["brain"][0].of == 1


def test_an_alarm_is_counted_on_the_images_that_all_methods_show(make_record):
    calls = {"a": True, "b": False, "c": True, "d": None}
    records = [make_record(entry=name, title=name) for name in calls]
    galleries = {
        record.run_key: gallery(
            record,
            picture("x", role="same", is_called=is_called),
            picture("y", role="worst", is_called=is_called),
        )
        for record, is_called in zip(records, calls.values(), strict=True)
    }
    # One without a threshold has no say; an image that is shown because it went wrong is not counted.
    assert alarms(records, galleries) == {"brain": {"x": Alarms(called=2, of=3)}}


def test_a_second_seed_raises_no_second_alarm(make_record):
    records = [make_record(seed=seed) for seed in (0, 1)]
    shown = picture("x", role="same", is_called=True)
    galleries = {record.run_key: gallery(record, shown) for record in records}
    assert alarms(records, galleries)["brain"]["x"].of == 1
