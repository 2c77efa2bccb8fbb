"""The run key: a hash of everything that decides a run's result. Equal keys mean an equal result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import harness
from harness.contract import CONTRACT_VERSION
from harness.records.parts import weights_in_key
from harness.records.record import Record, content_hash

if TYPE_CHECKING:
    from harness.records.parts import SourcesPart, WeightsPart
    from harness.records.record import Parameter


@dataclass(frozen=True)
class RunKey:
    """What decides a run's result, by name, and its hash. Made once for a run, and carried."""

    training: Mapping[str, object]
    """What decides the result of the run's training."""
    model: str | None = None
    """Hash of the model that the call gives, where it gives one."""
    made_of: SourcesPart | None = None
    """What a folder's identity is made of: for words on a difference, no part of the key."""
    patients: str | None = None
    """Hash of the patients' assignment (`PackPart.patients_digest`): the intervals hang on it, and
    no training does. None where an older record does not tell."""

    @classmethod
    def of_run(
        cls,
        *,
        identity: str,
        params: Mapping[str, Parameter],
        training: Mapping[str, object],
        pack: str,
        seed: int,
        engine: str,
        device: str,
        threads: int,
        model: str | None = None,
        made_of: SourcesPart | None = None,
        patients: str | None = None,
        weights: Sequence[WeightsPart] | None = (),
        regime: Mapping[str, object] | None = None,
    ) -> RunKey:
        """The key of a run that this harness does.

        Args:
            identity: of the program that runs; its name does not count.
            params: hyper-parameters.
            training: the rule by which checkpoints are judged.
            pack: version id of the pack.
            seed: seed of the run.
            engine: name of the engine.
            device: kind of device: `cpu`, or the GPU's model.
            threads: CPU threads; other counts give other last digits.
            model: hash of a model that is given.
            made_of: what the identity of a folder is made of.
            patients: digest of the patients' assignment.
            weights: pretrained files that it can read; None: nothing is known of them here.
            regime: what the regime adds (`Regime.key_part`); None: nothing.
        """
        parts: dict[str, object] = {
            "identity": identity,
            "params": dict(params),
            "training": dict(training),
            "pack": pack,
            "seed": seed,
            "engine": engine,
            "device": device,
            "threads": threads,
            "contract": CONTRACT_VERSION,
            "harness": harness.__version__,
        }
        parts |= weights_in_key(weights)
        if regime is not None:
            parts["regime"] = dict(regime)
        return cls(parts, model, made_of=made_of, patients=patients)

    def with_weights(self, weights: Sequence[WeightsPart] | None) -> RunKey:
        """The key of the same run with these pretrained files."""
        return replace(self, training={**self.training, **weights_in_key(weights)})

    @classmethod
    def of_record(cls, record: Record) -> RunKey | None:
        """The key that follows from a record's own parts; None where it does not hold them all."""
        if record.entry.checkpoint_rule is None:
            return None
        parts = _parts_of(record) | {"training": dict(record.entry.checkpoint_rule)}
        return cls(parts, _given_model(record), patients=record.pack.patients_digest)

    @property
    def parts(self) -> dict[str, object]:
        """Everything that decides the run's result, by name."""
        more = {"model": self.model, "patients": self.patients}
        return dict(self.training) | {name: value for name, value in more.items() if value}

    @cached_property
    def hash(self) -> str:
        """`sha256:…` over the parts."""
        return content_hash(self.parts)

    @cached_property
    def training_hash(self) -> str:
        """`sha256:…` over what decides the result of the run's training: the key of its model."""
        return content_hash(dict(self.training))

    def difference(self, old: Record, **more: tuple[object, object]) -> str:
        """In words, which parts differ from those of a stored record.

        Args:
            old: the stored record.
            more: by name, what else is compared: its value in the record, and now.
        """
        now = {"model": "trained", "patients": None, "weights": None, "regime": None, **self.parts}
        before = {
            "weights": None,
            "regime": None,
            **_parts_of(old),
            "model": _given_model(old) or "trained",
            "patients": old.pack.patients_digest,
        }
        told = [
            (name, before[name], now[name]) for name in before if name not in ("params", "weights")
        ]
        told.append(("weights", _in_words(before["weights"]), _in_words(now["weights"])))
        told += [(name, was, new) for name, (was, new) in more.items()]
        mine, theirs = dict(now["params"]), old.entry.params  # type: ignore[call-overload]
        told += [
            (name, repr(theirs.get(name)), repr(mine.get(name)))
            for name in sorted(mine.keys() | theirs.keys())
        ]
        found = [f"{name} was {was} and is {new}" for name, was, new in told if was != new]
        if old.entry.made_of is not None and self.made_of is not None and found:
            # Hashes tell nobody what to look for; and under docker, a folder's holds its base image.
            found = [text for text in found if not text.startswith("identity was ")]
            found = old.entry.made_of.difference(self.made_of) + found
        return "; ".join(found) or "the rule by which checkpoints are judged"


def _in_words(weights: object) -> str:
    """The `weights` of a key, each file with its digest."""
    if not isinstance(weights, dict):
        return "not told"
    each = [f"{name} ({', '.join(told.values()) or 'random'})" for name, told in weights.items()]
    return ", ".join(sorted(each))


def _parts_of(record: Record) -> dict[str, object]:
    """What a record holds of its key's parts, but for the rule by which checkpoints were judged."""
    packs = record.members or (record.pack,)
    regime = record.regime and record.regime.key_part(pack.version for pack in packs)
    parts: dict[str, object] = {
        "identity": record.entry.identity,
        "params": dict(record.entry.params),
        "pack": record.pack.version,
        "seed": record.seed,
        "engine": record.machine.engine_name,
        "device": record.machine.device,
        "threads": record.machine.threads,
        "contract": record.source.contract,
        "harness": record.source.version,
        **weights_in_key(record.weights),
    }
    return parts | ({"regime": regime} if regime else {})


def _given_model(record: Record) -> str | None:
    is_given = record.model is not None and record.model.origin == "given"
    return record.model.hash if record.model and is_given else None
