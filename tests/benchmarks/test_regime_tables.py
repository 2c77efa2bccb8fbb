"""The tables that stand in docs/regimes.md."""

from __future__ import annotations

from harness.board.siblings import SiblingDifference
from harness.board.suite_rows import whole_rows
from harness.records.record import MetricValue, Record
from tests.benchmarks.regime_tables import tables
from tests.record_factory import record

AUROC = ("image_auroc", None)


def unified() -> Record:
    packs = [record(benchmark=name).pack.model_dump(mode="json") for name in ("brain", "liver")]
    suite = record(
        metrics={},
        pack={"benchmark": "two", "base": None},
        members=packs,
        regime={"name": "unified", "suite": "two", "delivery": "256"},
    )
    values = {"brain": 0.625, "liver": 0.625, "mean": 0.625}
    metrics = [
        *(
            MetricValue(id="image_auroc", grid=None, value=v, n=9, member=m)
            for m, v in values.items()
        ),
        MetricValue(id="pooled_image_auroc", grid=None, value=0.375, n=9),
    ]
    return suite.model_copy(update={"metrics": metrics}).sealed()


def few(shots: int | None, value: float, seed: int = 0) -> Record:
    name = "few-shot" if shots else "one-class"
    return record(
        seed=seed, metrics={AUROC: value}, regime={"name": name, "shots": shots}, mark=str(shots)
    )


def lines(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]


def test_a_difference_stands_beside_what_it_is_of_with_its_interval_where_there_is_one() -> None:
    (whole,) = whole_rows([unified()])
    told = [
        SiblingDifference("brain", *AUROC, 0.75, -0.125, -0.25, 0.0, None),
        SiblingDifference("liver", *AUROC, 0.5, 0.125, None, None, "too few"),
        SiblingDifference("mean", *AUROC, None, None, None, None, "no sibling"),
    ]
    found = lines(tables([whole], {whole.key: told}))
    name = f"`{whole.row.entry}`"
    assert [name, "brain", "75.0", "62.5", "-12.5 [-25.0, +0.0]", *"–––"] in found
    assert [name, "liver", "50.0", "62.5", "+12.5", *"–––"] in found
    assert [name, "mean", "–", "62.5", *"––––"] in found
    assert [name, "37.5", *"–––"] in found


def test_a_curve_says_its_spread_over_seeds_and_ends_in_all_images() -> None:
    records = [few(1, 0.5), few(1, 0.625, seed=1), few(4, 0.75), few(None, 0.875)]
    found = lines(tables(whole_rows(records), {}))
    name = f"`{records[0].entry.name}`"
    assert [name, "image AUROC", "56.2 ± 8.8", "–", "75.0", "–", "–", "87.5"] in found
