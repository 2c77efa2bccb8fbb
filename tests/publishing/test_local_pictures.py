"""Pictures of images that may not be shown: on one's own machine when asked for, and nowhere else."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import site
from harness.board.gallery import read_galleries
from harness.board.site_data import Material
from harness.common.errors import UsageError
from harness.entries.reviewed import NOTHING_REVIEWED
from harness.publishing.bundle_export import export_run
from harness.publishing.signed_bundle import PARTS
from harness.publishing.signing import generate_key, read_private
from harness.publishing.site_build import default_site_folder, gather
from harness.records.store import read_record
from tests.publishing.made_galleries import write_beside
from tests.publishing.pull_requests import RECORDS, add, problems
from tests.record_factory import KNOWN


def drawn(
    run: Callable[..., Path], *, is_local: bool, may_be_shown: bool = False, **changes: object
) -> Path:
    """A run with pictures beside it; the path of its record."""
    path = run(pack__images_may_be_shown=may_be_shown, pack__regions=9, **changes)
    write_beside(path, is_local=is_local)
    return path


def test_local_pictures_are_neither_published_nor_in_a_bundle(
    fork: Path, run: Callable[..., Path], tmp_path: Path
) -> None:
    path = drawn(run, is_local=True)
    made = read_record(path)
    assert list(read_galleries(tmp_path / "results", [made], with_local=True)) == [made.run_key]
    assert add(fork, tmp_path / "results") == 0
    shown = {each.name for each in (fork / RECORDS / "brain/patchcore").rglob("*")}
    assert shown == {"seed-0.json", "seed-0.curves.json"}
    assert problems(fork) == []
    generate_key(tmp_path / "key.pem", tmp_path / "key.pub")
    bundle = export_run(path, read_private(tmp_path / "key.pem"), tmp_path / "bundles")
    assert bundle is not None
    with zipfile.ZipFile(bundle) as parts:
        assert set(parts.namelist()) == set(PARTS)  # none of them is a picture


@pytest.mark.parametrize("is_local", [True, False], ids=["marked", "mark taken off"])
@pytest.mark.parametrize(
    "changes",
    [
        {"may_be_shown": False},
        {"may_be_shown": True},
        {"may_be_shown": True, "visibility": "hidden", "track": "sealed"},
    ],
    ids=["closed", "shown", "hidden"],
)
def test_a_pull_request_brings_in_no_picture_that_may_not_be_shown(
    fork: Path, run: Callable[..., Path], tmp_path: Path, changes: dict, is_local: bool
) -> None:
    path = drawn(run, is_local=is_local, **changes)
    add(fork, tmp_path / "results")
    own, target = path.with_suffix(".gallery"), fork / RECORDS / "brain/patchcore/seed-0.gallery"
    if changes == {"may_be_shown": True} and not is_local:
        assert target.is_dir()  # these may
        return
    assert not target.exists()
    shutil.copytree(own, target)  # by hand, past `publish add`
    told = problems(fork)
    assert len(told) == 5
    assert all("not that of its record, or may not be shown" in each for each in told)


def test_the_site_shows_local_pictures_where_it_is_told_to_and_of_ones_own_results_alone(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    path = drawn(run, is_local=True)
    results, none = tmp_path / "results", tmp_path / "none"
    key = read_record(path).run_key

    def gathered(own: Path, published: Path, *, with_local: bool) -> Material:
        return gather(own, published, KNOWN, NOTHING_REVIEWED, with_local_pictures=with_local)

    plain = gathered(results, none, with_local=False)
    assert (plain.galleries, plain.has_local_pictures) == ({}, False)
    local = gathered(results, none, with_local=True)
    assert (list(local.galleries), local.has_local_pictures) == ([key], True)
    board = gathered(none, results, with_local=True)
    assert (board.galleries, board.has_local_pictures) == ({}, False)
    both = gathered(results, results, with_local=True)
    assert (both.galleries, both.has_local_pictures) == ({}, False)


def test_a_site_with_local_pictures_takes_no_published_records_and_a_folder_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in (["--records", str(tmp_path)], ["--example", "--out", str(tmp_path / "out")]):
        with pytest.raises(UsageError, match="no picture"):
            site.main(["--local-pictures", *more])
    assert default_site_folder(tmp_path / "results") == tmp_path / "site"
    local = default_site_folder(tmp_path / "results", with_local_pictures=True)
    assert local == tmp_path / "local-site"
