"""Attack 5: an entry that knows public labels by heart, on every track."""

from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import canary
from harness.benchmarks import Pack, demo_pack, open_pack
from harness.board import tracks
from harness.common.errors import UsageError
from harness.console.cli import Reporter
from harness.entries import lookup_canary
from harness.entries.opening import open_folder

pytestmark = pytest.mark.engine

BASELINE = Path(canary.__file__).parents[1] / "baselines" / "canary-lookup"


@pytest.fixture(scope="module")
def knowing(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The canary with all answers of the demo pack in a layer."""
    out = tmp_path_factory.mktemp("canaries") / "canary-answers"
    assert lookup_canary.write_canary([demo_pack(cache)], out, Reporter()) == 168
    return out


def resplit(pack: Pack, root: Path, cache: Path) -> Pack:
    """The same images in other splits, brighter by one and in other files: only the list is new."""
    random = np.random.default_rng(3)
    normal = [s for s in pack.samples if not s.is_anomalous]
    anomalous = [s for s in pack.samples if s.is_anomalous]
    for samples, cuts in ((normal, (50, 63)), (anomalous, (0, 12))):
        for place, number in enumerate(random.permutation(len(samples))):
            sample = samples[number]
            split = "train" if place < cuts[0] else "valid" if place < cuts[1] else "test"
            folder = root / split / ("Ungood" if sample.is_anomalous else "good")
            name = f"r{place:03d}_0.png"
            save(np.minimum(pack.image(sample), 254) + 1, folder / "img" / name)
            if sample.is_anomalous:
                save(pack.mask(sample).astype(np.uint8) * 255, folder / "label" / name)
    card = (pack.root / "pack.toml").read_text().replace('name = "demo"', 'name = "resplit"')
    kept = [line for line in card.splitlines() if not line.startswith("name_rules")]
    (root / "pack.toml").write_text("\n".join(kept) + "\n")
    return open_pack(root, cache)


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, optimize=True)


def auroc(run) -> float:
    assert run.record.is_ok, run.record.outcome
    return run.record.metric("image_auroc", None).value


def test_5_memorised_labels_are_worth_everything_on_public_images_and_nothing_on_sealed_ones(
    attack, knowing, cache, tmp_path
) -> None:
    public = attack(knowing, pack=demo_pack(cache), results="public")
    assert auroc(public) > 0.99
    assert public.record.track == "open"
    assert "cannot be on the trained-here track: known.npz is not a text file" in public.terminal
    other = attack(knowing, pack=resplit(demo_pack(cache), tmp_path / "re", cache), results="re")
    assert auroc(other) > 0.99, "another split hides no label"
    assert other.record.track == "open"
    secret = demo_pack(cache, seed=secrets.token_hex(16), name="sealed", visibility="hidden")
    sealed = attack(knowing, pack=secret, results="sealed")
    assert abs(auroc(sealed) - 0.5) < 0.1
    assert sealed.record.track == "sealed"


def test_5_trained_here_there_is_nothing_to_look_up(attack, cache) -> None:
    run = attack(BASELINE, pack=demo_pack(cache), results="here")
    assert run.record.track == "trained-here"
    assert abs(auroc(run) - 0.5) < 0.1


def test_5_a_table_takes_a_folder_off_the_trained_here_track(knowing, cache, tmp_path) -> None:
    pack = demo_pack(cache)
    assert tracks.track_of(open_folder(BASELINE), pack) == "trained-here"
    assert tracks.unreviewable_files(knowing) == ["known.npz is not a text file"]
    assert tracks.track_of(open_folder(knowing), pack) == "open"
    (knowing / "known.npz").rename(tmp_path / "known.npz")
    (knowing / "known.txt").write_text("0" * (tracks.REVIEWABLE_BYTES + 1))
    try:
        assert tracks.track_of(open_folder(knowing), pack) == "open"
    finally:
        (knowing / "known.txt").unlink()
        (tmp_path / "known.npz").rename(knowing / "known.npz")


def test_5_the_labels_of_a_hidden_pack_are_written_into_no_entry(sealed_small, tmp_path) -> None:
    with pytest.raises(UsageError, match="hidden"):
        lookup_canary.write_canary([sealed_small], tmp_path / "canary-x", Reporter())
    assert not (tmp_path / "canary-x").exists()
