"""A run's pretrained files: in its record and key, and what they mean for its rank."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from baselines.kit.weight_files import WEIGHT_FILES, WeightFile
from harness import campaign, evaluate
from harness.common.errors import StoreConflict
from harness.records.record import Record
from harness.records.run_key import RunKey
from tests.paths import ENTRIES

DIGEST = hashlib.sha256(b"tensors").hexdigest()


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An entry that needs a file whose publisher states no digest."""
    monkeypatch.setitem(WEIGHT_FILES, "toynet", WeightFile("toynet", "toynet.pth", ""))
    monkeypatch.setenv("BMAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BMAD_WEIGHTS", str(tmp_path / "weights"))
    folder = shutil.copytree(ENTRIES / "honest", tmp_path / "honest")
    table = (folder / "entry.toml").read_text()
    (folder / "entry.toml").write_text(
        table.replace('pretraining = "none"', 'backbones = ["toynet"]')
    )
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "toynet.pth").write_bytes(b"tensors")
    return folder


def test_a_file_without_a_stated_digest_is_used_and_shown_and_takes_no_rank(
    entry: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> tuple[Record, str]:
        call = [str(entry), "--engine", "process", "--results", str(tmp_path / "results"), "--json"]
        assert evaluate.main(call) == 0
        told = capsys.readouterr()
        (record,) = json.loads(told.out)
        return Record.model_validate(record), told.err

    record, _ = run()
    assert record.weights is not None
    (part,) = record.weights
    assert (part.name, part.file, part.sha256) == ("toynet", "toynet.pth", f"sha256:{DIGEST}")
    assert "unpinned weights" in (record.unranked_reason or "").split(", ")
    assert any(DIGEST in each and "no pretrained file" in each for each in record.warnings)
    key = RunKey.of_record(record)
    assert key is not None
    assert key.hash == record.run_key

    def planned() -> list[str]:
        call = ["status", "--entries", str(entry), "--benchmark", "demo", "--seed", "0", "--json"]
        assert (
            campaign.main([*call, "--engine", "process", "--results", f"{tmp_path}/results"]) == 0
        )
        return [each["state"] for each in json.loads(capsys.readouterr().out)]

    assert planned() == ["finished"]
    monkeypatch.setenv("BMAD_WEIGHTS", str(tmp_path / "nothing"))  # a plan needs no files
    assert planned() == ["finished"]
    monkeypatch.setenv("BMAD_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights" / "toynet.pth").write_bytes(b"others")
    assert planned() == ["taken by another run"]
    with pytest.raises(StoreConflict, match=f"weights was toynet .sha256:{DIGEST}. and is toynet"):
        run()
    (tmp_path / "weights" / "toynet.pth").write_bytes(b"tensors")
    listed = WeightFile("toynet", "toynet.pth", DIGEST)  # as a maintainer who lists it does
    monkeypatch.setitem(WEIGHT_FILES, "toynet", listed)
    same, told = run()
    assert same.run_key == record.run_key
    assert "finished before, not run again" in told
