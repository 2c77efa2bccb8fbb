"""Entries in their four forms, and how hyper-parameters are resolved."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.common.errors import EntryInvalid, UsageError
from harness.entries.opening import open_entry

ENTRY_TOML = """
[entry]
name = "blur"
title = "Blur"
model = "model.py:Blur"
trains = true
[[deviations]]
what = "smaller"
why = "tests"
[training]
checkpoint_metric = "pixel_auroc"
patience = 3
[params]
width = 8
rate = 0.5
weights = "imagenet"
layers = ["layer1", "layer2"]
is_wide = false
[presets.official]
rate = 0.25
[presets.official.training]
patience = 0
[presets.demo]
weights = "random"
width = 4
[benchmarks.liver]
width = 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "blur"
    root.mkdir()
    (root / "entry.toml").write_text(ENTRY_TOML)
    (root / "model.py").write_text("class Blur: ...\n")
    return root


def change(folder: Path, old: str, new: str) -> None:
    text = (folder / "entry.toml").read_text()
    assert old in text
    (folder / "entry.toml").write_text(text.replace(old, new))


def test_defaults_are_overridden_by_preset_then_benchmark_then_the_command_line(
    folder: Path,
) -> None:
    entry = open_entry(str(folder))
    plain = entry.settings("brain")
    assert plain.params["width"] == 8
    assert plain.training.patience == 3
    assert entry.settings("liver", preset="official").params["width"] == 5
    official = entry.settings("liver", preset="official", overrides={"width": "16"})
    assert official.params == {
        "width": 16, "rate": 0.25, "weights": "imagenet", "layers": ["layer1", "layer2"], "is_wide": False,
    }  # fmt: skip
    assert official.overrides == {"width": 16}
    assert official.training.patience == 0
    assert official.training.checkpoint_metric == "pixel_auroc"


def test_an_override_is_read_by_the_type_of_the_default(folder: Path) -> None:
    entry = open_entry(str(folder))
    params = entry.settings(
        "brain",
        overrides={"rate": "1", "layers": '["layer3"]', "is_wide": "true", "weights": "random"},
    ).params
    assert params["rate"] == 1.0
    assert isinstance(params["rate"], float)
    assert params["layers"] == ["layer3"]
    assert params["is_wide"] is True
    assert params["weights"] == "random"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("widht", "4", "did you mean width"),
        ("width", "wide", "width is a int"),
        ("width", "4.5", "width is a int"),
        ("is_wide", "1", "is_wide is a bool"),
    ],
)
def test_a_wrong_override_is_a_usage_error_that_helps(
    folder: Path, name: str, value: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        open_entry(str(folder)).settings("brain", overrides={name: value})
    assert message in str(caught.value)


def test_an_unknown_parameter_in_a_benchmark_table_is_the_entrys_error(folder: Path) -> None:
    change(folder, "width = 5", "wdith = 5")
    entry = open_entry(str(folder))
    assert entry.settings("brain").params["width"] == 8
    with pytest.raises(EntryInvalid, match="wdith"):
        entry.settings("liver")


def test_the_demo_preset_is_the_demo_packs_own_and_can_be_asked_for_elsewhere(folder: Path) -> None:
    entry = open_entry(str(folder))
    on_demo = entry.settings("demo")
    assert (on_demo.preset, on_demo.params["weights"], on_demo.params["width"]) == (
        "demo",
        "random",
        4,
    )
    assert entry.settings("demo", preset="bmad").params["weights"] == "imagenet"
    assert entry.settings("brain", preset="demo").params == on_demo.params


def test_an_unknown_preset_lists_the_valid_ones(folder: Path) -> None:
    with pytest.raises(UsageError, match="bmad, demo, official"):
        open_entry(str(folder)).settings("brain", preset="offical")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "blur"', 'name = "other"', "the folder is 'blur'"),
        ('title = "Blur"', "", "title"),
        ('title = "Blur"', 'titel = "Blur"', "titel"),
        ('name = "blur"', 'name = "Blur!"', "name"),
        ("[params]", "[parameters]", "unknown section"),
        ("model.py:Blur", "missing.py:Blur", "missing.py"),
        ("[entry]", "[entry", "not valid TOML"),
    ],
)
def test_a_wrong_entry_toml_says_what_is_wrong(
    folder: Path, old: str, new: str, message: str
) -> None:
    change(folder, old, new)
    with pytest.raises(EntryInvalid) as caught:
        open_entry(str(folder))
    assert message in str(caught.value)


def test_everything_that_is_wrong_with_a_folder_is_told_at_once(folder: Path) -> None:
    change(folder, 'name = "blur"', 'name = "other"')
    change(folder, 'title = "Blur"', 'titel = "Blur"')
    change(folder, "model.py:Blur", "missing.py:Blur")
    with (folder / "entry.toml").open("a") as file:
        file.write("\n[limits]\nmemory_mib = 1e9\n[[deviations]]\nwhat = 3\n[parameters]\n")
    with pytest.raises(EntryInvalid) as caught:
        open_entry(str(folder))
    for part in ("'other'", "titel", "missing.py", "memory_mib", "what", "parameters"):
        assert part in caught.value.what


def test_a_folder_needs_no_more_than_its_entry_toml_and_the_model_that_it_names(
    folder: Path,
) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["entry.toml", "model.py"]
    assert open_entry(str(folder)).name == "blur"
    (folder / "model.py").unlink()
    with pytest.raises(EntryInvalid, match=r"model\.py, which is not there"):
        open_entry(str(folder))


def test_a_folder_without_entry_toml_names_the_template(tmp_path: Path) -> None:
    with pytest.raises(EntryInvalid, match=r"no entry\.toml[\s\S]*baselines/template"):
        open_entry(str(tmp_path))


def test_a_misspelt_baseline_is_not_taken_for_an_image(folder: Path) -> None:
    with pytest.raises(UsageError, match="did you mean baselines/blur"):
        open_entry("baselines/blurr", known_folders=folder.parent)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("registry.example:5000/team/method:v1", "method"),
        ("method@sha256:" + "a" * 64, "method"),
        ("method", "method"),
    ],
)
def test_an_image_reference_is_an_entry_named_after_its_repository(
    reference: str, name: str
) -> None:
    entry = open_entry(reference)
    assert (entry.kind, entry.name, entry.source) == ("image", name, reference)


def test_an_archive_is_an_entry_named_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "My Method.tar.gz"
    path.write_bytes(b"")
    entry = open_entry(str(path))
    assert (entry.kind, entry.name) == ("archive", "my-method")


def test_a_submission_must_pin_a_digest(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = '[entry]\nname = "mine"\ntitle = "Mine"\nimage = "registry.example/mine{}"\n'
    path.write_text(text.format(":latest"))
    with pytest.raises(EntryInvalid, match="tag, which can be moved"):
        open_entry(str(path))
    path.write_text(text.format("@sha256:" + "0" * 64))
    entry = open_entry(str(path))
    assert (entry.kind, entry.name) == ("submission", "mine")
    assert entry.source.endswith("0" * 64)


def test_another_name_must_be_a_file_name_everywhere(folder: Path) -> None:
    entry = open_entry(str(folder))
    assert entry.renamed("blur-wide").name == "blur-wide"
    for bad in ("../up", "Blur", "", "a b", "x" * 65):
        with pytest.raises(UsageError):
            entry.renamed(bad)


def test_a_number_that_no_frame_can_carry_is_refused(folder: Path) -> None:
    change(folder, "rate = 0.5", "rate = inf")
    with pytest.raises(EntryInvalid, match="rate is NaN or infinite"):
        open_entry(str(folder)).settings("brain")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[params]", "[params]\nwhen = 2020-01-01"),
        ("[params]", "[params]\nnested = {a = 1}"),
        ("[params]", '[params]\nmixed = [1, "a"]'),
        ("[params]", f"[params]\nlong = '{'x' * 70_000}'"),
        ("[presets.official]", "[presets]\nflat = 5\n[presets.official]"),
        ("[benchmarks.liver]", "[benchmarks.liver]\ntraining = 5"),
        ("[[deviations]]", "[deviations]"),
        ("[training]", "[[training]]"),
    ],
)
def test_a_table_of_the_wrong_kind_is_the_entrys_mistake_and_no_bug(
    folder: Path, old: str, new: str
) -> None:
    change(folder, old, new)
    with pytest.raises(EntryInvalid, match=r"entry\.toml"):
        open_entry(str(folder))


def test_a_path_that_cannot_be_looked_at_is_one_clear_error() -> None:
    with pytest.raises(EntryInvalid, match="too long"):
        open_entry("a" * 300)
