"""The run key: what decides a result, its hash, and how two of them differ in words."""

from __future__ import annotations

from typing import Any

import harness
from harness.contract import CONTRACT_VERSION
from harness.entries.entry import TrainingTable
from harness.records.parts import SourcesPart, WeightsPart
from harness.records.record import Record, content_hash
from harness.records.run_key import RunKey
from tests.record_factory import record
from tests.run_factory import finished

DECISIVE: dict[str, Any] = {
    "identity": "folder:sha256:1",
    "params": {"coreset_ratio": 0.1},
    "training": {"every": 10},
    "pack": "brain-000000000000",
    "seed": 0,
    "engine": "docker",
    "device": "cpu",
    "threads": 2,
}
OTHERS: dict[str, Any] = {
    "identity": "folder:sha256:2",
    "params": {"coreset_ratio": 0.2},
    "training": {"every": 20},
    "pack": "brain-000000000001",
    "seed": 1,
    "engine": "process",
    "device": "NVIDIA H200",
    "threads": 4,
}


def of_record(known: Record, **changes: Any) -> RunKey:
    """The key of a run like a recorded one, but for these parts."""
    return RunKey.of_run(
        **{
            "identity": known.entry.identity,
            "params": known.entry.params,
            "training": known.entry.checkpoint_rule or {},
            "pack": known.pack.version,
            "seed": known.seed,
            "engine": "docker",
            "device": known.machine.device,
            "threads": known.machine.threads,
            "patients": known.pack.patients_digest,
        }
        | changes
    )


def test_the_hash_is_over_the_parts_that_decide_and_what_this_harness_is() -> None:
    here = {"contract": CONTRACT_VERSION, "harness": harness.__version__}
    assert RunKey.of_run(**DECISIVE).hash == content_hash(DECISIVE | here)


def test_every_part_counts() -> None:
    same = RunKey.of_run(**DECISIVE).hash
    others = {RunKey.of_run(**DECISIVE | {name: value}).hash for name, value in OTHERS.items()}
    assert len(others | {same}) == len(OTHERS) + 1


def test_a_given_model_counts_for_the_run_and_not_for_a_training() -> None:
    given, trained = RunKey.of_run(**DECISIVE, model="sha256:m"), RunKey.of_run(**DECISIVE)
    assert given.hash != trained.hash
    assert given.training == trained.training
    assert given.parts == trained.parts | {"model": "sha256:m"}


def test_whose_the_images_are_counts_for_the_run_and_not_for_a_training() -> None:
    one, other = (RunKey.of_run(**DECISIVE, patients=each) for each in ("sha256:a", "none"))
    assert len({one.hash, other.hash, RunKey.of_run(**DECISIVE).hash}) == 3
    assert one.training_hash == other.training_hash == RunKey.of_run(**DECISIVE).hash
    assert one.parts == RunKey.of_run(**DECISIVE).parts | {"patients": "sha256:a"}
    known = finished(record())
    told = of_record(known, patients="none").difference(known)
    assert f"patients was {known.pack.patients_digest} and is none" in told


WEIGHTS = (WeightsPart(name="resnet18", file="resnet18.pth", sha256="sha256:" + "a" * 64),)


def test_a_pretrained_file_counts_for_the_run_and_for_its_training() -> None:
    plain, one = (RunKey.of_run(**DECISIVE, weights=each) for each in ((), WEIGHTS))
    other = WEIGHTS[0].model_copy(update={"sha256": "sha256:" + "b" * 64})
    described = WEIGHTS[0].model_copy(update={"description": "sha256:" + "c" * 64})
    keys = [
        plain,
        one,
        *(RunKey.of_run(**DECISIVE, weights=(each,)) for each in (other, described)),
    ]
    assert len({key.hash for key in keys}) == len({key.training_hash for key in keys}) == 4
    assert plain.hash == RunKey.of_run(**DECISIVE, weights=None).hash
    assert plain.with_weights(WEIGHTS).hash == one.hash


def test_a_record_with_a_pretrained_file_gives_its_key_again_and_tells_the_difference() -> None:
    known = finished(record(weights=[each.model_dump() for each in WEIGHTS]))
    key = RunKey.of_record(known)
    assert key is not None
    assert key.hash == known.run_key == of_record(known, weights=WEIGHTS).hash
    told = of_record(known).difference(known)
    assert told == f"weights was resnet18 ({WEIGHTS[0].sha256}) and is not told"


def test_a_key_from_before_the_patients_were_told_still_follows_from_its_record() -> None:
    old = finished(record(pack__patients_digest=None))
    key = RunKey.of_record(old)
    assert key is not None
    assert key.hash == old.run_key
    assert "patients" not in key.parts


def test_a_record_that_holds_all_its_parts_gives_its_key_again() -> None:
    known = finished(record())
    key = RunKey.of_record(known)
    assert key is not None
    assert key.hash == known.run_key


def test_a_record_without_its_checkpoint_rule_gives_none() -> None:
    assert record().entry.checkpoint_rule is None
    assert RunKey.of_record(record()) is None


def test_the_difference_to_a_stored_run_is_said_in_words() -> None:
    known = finished(record())
    other = of_record(
        known, params={**known.entry.params, "coreset_ratio": 0.2}, pack="brain-000000000000", threads=4
    )  # fmt: skip
    text = other.difference(known, metrics=("1", "2"))
    assert "coreset_ratio was 0.1 and is 0.2" in text
    assert "threads was 2 and is 4" in text
    assert f"pack was {known.pack.version} and is brain-000000000000" in text
    assert "metrics was 1 and is 2" in text
    assert "identity" not in text


def test_a_model_that_was_trained_and_is_given_now_is_a_difference() -> None:
    known = finished(record())
    assert "model was trained and is sha256:m" in of_record(known, model="sha256:m").difference(
        known
    )


def test_where_nothing_else_differs_it_is_the_checkpoint_rule() -> None:
    known = finished(record(source__version=harness.__version__, source__contract=CONTRACT_VERSION))
    rule = TrainingTable().model_dump() | {"patience": 1}
    told = of_record(known, training=rule).difference(known)
    assert told == "the rule by which checkpoints are judged"


def made_of(own: str = "own", shared: str = "shared", base: str | None = "base") -> SourcesPart:
    return SourcesPart(
        own=content_hash(own), shared=content_hash(shared), base=base and content_hash(base)
    )


def test_an_unchanged_folder_is_not_called_another_for_its_base_image() -> None:
    known = finished(record(entry__made_of=made_of().model_dump()))
    text = of_record(known, identity="folder:2", made_of=made_of(base="other")).difference(known)
    assert text.startswith("the folder's own files are the same; the folder's base image was ")
    assert "BMAD_BASE_IMAGE" in text
    assert "identity was" not in text


def test_an_unchanged_folder_on_another_engine_differs_by_the_engine_alone() -> None:
    known = finished(record(entry__made_of=made_of().model_dump()))
    key = of_record(known, identity="folder:2", engine="process", made_of=made_of(base=None))
    assert key.difference(known) == "engine was docker and is process"


def test_a_changed_folder_is_told_from_changed_shared_files() -> None:
    known = finished(record(entry__made_of=made_of().model_dump()))
    own = of_record(known, identity="folder:2", made_of=made_of(own="new")).difference(known)
    assert own == "the folder's own files were others"
    shared = of_record(known, identity="folder:2", made_of=made_of(shared="new")).difference(known)
    assert shared.startswith("the folder's own files are the same; the files that every folder")
    same = of_record(known, seed=7, made_of=made_of()).difference(known)
    assert same == f"seed was {known.seed} and is 7"


def test_without_its_parts_in_the_record_the_identities_are_told() -> None:
    known = finished(record())
    text = of_record(known, identity="folder:2", made_of=made_of()).difference(known)
    assert "identity was folder:sha256:" in text
