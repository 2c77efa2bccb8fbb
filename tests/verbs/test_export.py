"""`export`: what was written is read back by others, and says what the records say."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from harness import export
from harness.board.comparison import comparison_bytes, comparison_path
from harness.board.tidy_rows import TIDY_COLUMNS
from harness.common.errors import DataMissing, EnvironmentFault, UsageError
from harness.common.statuses import Status
from harness.records.record import Record
from harness.records.store import Store
from tests.board.test_pair_comparison import check_latex
from tests.paths import REPOSITORY
from tests.record_factory import KNOWN, LOCALISATION, comparison
from tests.reviewed_sets import all_reviewed

OTHER = LOCALISATION | {("image_auroc", None): 0.85, ("pixel_auroc", "native"): None}


@pytest.fixture
def store(tmp_path: Path, make_record: Callable[..., Record]) -> Store:
    """Two ranked entries with two seeds and a comparison, a local one, and a run that failed."""
    ranked = [
        *(make_record(entry="padim", title="PaDiM & co_1 100 %", seed=seed) for seed in (0, 1)),
        *(make_record(entry="stfpm", title="STFPM", seed=seed, metrics=OTHER) for seed in (0, 1)),
    ]
    local = [
        make_record(entry="mine", title="=1+1", params={"weights": "random", "layers": ["a", "b"]}),
        make_record(entry="broken", title="Broken", status=Status.CRASHED, metrics={}),
    ]
    found = Store(tmp_path / "results")
    for record in (*ranked, *local):
        found.save(found.name_of(record), record)
    found.write(comparison_path(found.root, "brain"), comparison_bytes(comparison(ranked)))
    return found


def call(store: Store, *options: str) -> int:
    return export.main(
        ["--results", str(store.root), *options], KNOWN, all_reviewed(store.records())
    )


def read(store: Store, capsys: pytest.CaptureFixture[str], *options: str) -> pd.DataFrame:
    assert call(store, *options) == 0
    return pd.read_csv(io.StringIO(capsys.readouterr().out))


def test_the_csv_that_pandas_reads_back_is_what_the_records_say(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = read(store, capsys)
    assert list(frame.columns) == list(TIDY_COLUMNS)
    assert not frame.duplicated(["benchmark", "entry", "track", "metric", "grid"]).any()
    for (metric, grid), value in LOCALISATION.items():
        at = (frame["entry"] == "padim") & (frame["metric"] == metric)
        at &= frame["grid"].isna() if grid is None else frame["grid"] == grid
        (line,) = frame[at].to_dict("records")
        assert line["value"] == value  # to the last digit
        assert line["std"] == 0.0
        assert (line["low"], line["interval"]) == (pytest.approx(value - 0.01), "the mean")
        assert (line["seeds"], line["rank"], line["ties"]) == (2, 1, "stfpm")
        assert bool(line["ranked"])
        assert json.loads(line["settings"]) == {"weights": "imagenet", "coreset_ratio": 0.1}
    mine = frame[frame["entry"] == "mine"]
    assert set(mine["unranked_reason"]) == {"random weights"}
    assert set(mine["interval"].dropna()) == {"the one seed"}
    assert set(mine["title"]) == {"'=1+1"}  # no spreadsheet runs it
    assert mine["rank"].isna().all()
    (broken,) = frame[frame["entry"] == "broken"].to_dict("records")
    assert broken["failures"] == "crashed"
    assert "a run failed" in broken["reason"]
    assert (broken["labels"], broken["contamination"]) == ("unknown", "unknown")
    (undefined,) = frame[
        (frame["entry"] == "stfpm")
        & (frame["metric"] == "pixel_auroc")
        & (frame["grid"] == "native")
    ].to_dict("records")
    assert pd.isna(undefined["value"])
    assert undefined["reason"] == "the entry gives no maps"


def test_lines_are_chosen_by_benchmark_entry_metric_grid_and_rank(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = read(
        store, capsys, "--metric", "pixel_auroc", "--grid", "native", "--entry", "padim", "mine"
    )
    assert sorted(zip(frame["entry"], frame["grid"], strict=True)) == [
        ("mine", "native"),
        ("padim", "native"),
    ]
    assert set(read(store, capsys, "--ranked")["entry"]) == {"padim", "stfpm"}
    assert set(read(store, capsys, "--grid", "image")["metric"].dropna()) == {
        "image_auroc",
        "image_ap",
    }
    with pytest.raises(DataMissing, match="of what was asked for"):
        call(store, "--benchmark", "liver")


def test_json_holds_the_same_without_nan(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    frame = read(store, capsys)
    assert call(store, "--json") == 0
    lines = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [line["entry"] for line in lines] == list(frame["entry"])
    again = pd.DataFrame(lines)
    assert list(again["value"].dropna()) == list(frame["value"].dropna())
    assert next(line for line in lines if line["entry"] == "mine")["title"] == "=1+1"


def test_the_two_lines_give_the_frame_and_every_column_is_told(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(store, "--frame") == 0
    first, second, blank, *columns = capsys.readouterr().out.splitlines()
    assert blank == ""
    assert [line.split()[0] for line in columns] == list(TIDY_COLUMNS)
    names: dict = {}
    exec(f"{first}\n{second}", names)
    frame = names["frame"]
    assert list(frame.columns) == list(TIDY_COLUMNS)
    pivot = frame[frame["grid"] == "native"].pivot(index="entry", columns="metric", values="value")
    assert pivot.loc["padim", "pixel_pro"] == LOCALISATION["pixel_pro", "native"]


def test_a_latex_table_is_one_with_the_best_bold_and_ties_marked(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(store, "--format", "latex") == 0
    text = capsys.readouterr().out
    head, *rows = check_latex(text)
    assert head[:3] == ["Entry", r"image\_auroc", r"image\_ap"]
    cells = {row[0]: row[1:] for row in rows}
    assert cells[r"PaDiM \& co\_1 100 \%"][0] == r"\textbf{91.65}\,$\pm$\,0.00"
    assert cells["STFPM"][0] == r"85.00\,$\pm$\,0.00$^{=}$"
    assert cells["STFPM"][head.index(r"pixel\_auroc") - 1] == "--"
    assert cells[r"=1+1$^{\dagger}$"][0] == "91.65"  # as good, but it takes no rank
    assert "booktabs" in text
    assert "random weights" in text


def test_a_markdown_table_has_as_many_cells_as_columns_everywhere(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(store, "--out", str(tmp_path / "new/board.md")) == 0
    text = (tmp_path / "new/board.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert r"PaDiM & co\_1 100 %" in text
    assert "**91.65** ± 0.00" in text
    assert "85.00 ± 0.00 =" in text


def test_exact_numbers_of_a_hidden_pack_do_not_leave(
    tmp_path: Path, make_record: Callable[..., Record], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "r")
    record = make_record(
        visibility="hidden", track="sealed", benchmark="clinic", median_seconds=0.031234
    )
    store.save(store.name_of(record), record)
    frame = read(store, capsys)
    (line,) = frame[frame["metric"] == "image_auroc"].to_dict("records")
    assert line["value"] == 0.92  # of 0.91649: to the step of its own interval
    assert line["step"] == 0.01
    assert pd.isna(line["low"])
    assert line["seconds_per_image"] == 0.031
    assert call(store, "--format", "latex") == 0
    assert "91.65" not in capsys.readouterr().out


def test_parquet_is_read_back_or_its_package_is_named(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UsageError, match="no text"):
        call(store, "--format", "parquet")
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(EnvironmentFault, match="pyarrow") as caught:
            call(store, "--out", str(tmp_path / "board.parquet"))
        assert "[parquet]" in caught.value.fix
    pytest.importorskip("pyarrow")
    assert call(store, "--out", str(tmp_path / "board.parquet")) == 0
    frame = pd.read_parquet(tmp_path / "board.parquet")
    capsys.readouterr()
    assert list(frame["value"].dropna()) == list(read(store, capsys)["value"].dropna())


def test_a_name_that_says_no_format_and_an_empty_folder_are_told(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="which format"):
        call(store, "--out", "board.xlsx")
    with pytest.raises(DataMissing, match="no row to export") as caught:
        export.main(["--results", str(tmp_path / "none")])
    assert "harness.list runs" in caught.value.fix


def test_the_pages_code_runs_as_it_stands(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (REPOSITORY / "docs/analysis.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 4
    monkeypatch.chdir(store.root.parent)  # where `results` is
    names: dict = {}
    for block in blocks:
        exec(block, names)
    told = capsys.readouterr().out
    assert "91.65" in told
    assert "random weights" in told
    assert all(line in text for line in (export.FRAME_LINES[0], "tidy_frame"))
