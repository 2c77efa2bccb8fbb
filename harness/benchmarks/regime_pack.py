"""What a run sees as its pack in a regime: several packs as one, images of one size, k training images.

    seen, regime = in_regime([brain, liver, resc], regime, seed=0, suite=suite)

It has the interface of a pack, so nobody who streams or stages images asks for the regime. What is
scored is the members' own: `members` have their ground truths, and `origin` says whose a sample is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.benchmarks.card import Counts, Groups, PackCard
from harness.benchmarks.delivery import DELIVERED_SIDE, delivered
from harness.benchmarks.few_shot import draw_shots
from harness.benchmarks.pack import MemberSample, Pack, Sample
from harness.benchmarks.pixels import Mask, Pixels
from harness.benchmarks.suites import Suite
from harness.benchmarks.version import NO_PATIENTS, content_digest, version_id
from harness.common.disclosure import strictest
from harness.records.regime import Delivery, Regime
from harness.records.releases import not_known, unlisted_name


@dataclass(frozen=True)
class RegimePack(Pack):
    """Packs as one run sees them.

    Its samples are the members': of a suite under keys and patients that begin with the member's
    name; sizes are those of the delivered images.
    """

    packs: tuple[Pack, ...] = ()
    """What it is made of."""
    delivery: Delivery = "native"
    """How images are delivered."""
    drawn_digest: str | None = None
    """Of a few-shot run: hash over the training images that it may learn from."""
    origins: Mapping[str, MemberSample] = field(default_factory=dict, repr=False)
    """By key, where a sample comes from."""

    @property
    def members(self) -> tuple[Pack, ...]:
        """The packs that it is made of, each with a ground truth of its own."""
        return self.packs

    @property
    def training_mark(self) -> str:
        """What its training material is known by: equal marks are equal files for an entry."""
        drawn = (self.drawn_digest or "").removeprefix("sha256:")[:12]
        return "@".join(part for part in (self.version, drawn, self.delivery) if part)

    def origin(self, sample: Sample) -> MemberSample:
        """The member that a sample is of, and its own sample there."""
        return self.origins[sample.key]

    def image(self, sample: Sample) -> Pixels:
        """Decode an image as it is delivered: uint8 [H, W] or [H, W, 3], or [256, 256, 3].

        Raises:
            PackInvalid: the file has changed since the pack was opened.
        """
        origin = self.origin(sample)
        return delivered(origin.pack.image(origin.sample), self.delivery)

    def mask(self, sample: Sample) -> Mask:
        """Decode a mask in its own size; see `Pack.mask`."""
        origin = self.origin(sample)
        return origin.pack.mask(origin.sample)


def in_regime(
    packs: Sequence[Pack], regime: Regime, seed: int, suite: Suite | None = None
) -> tuple[Pack, Regime]:
    """What a run on these packs sees, and its regime with what was drawn for it.

    Args:
        packs: one opened pack, or the members of the suite in its order.
        regime: the run's.
        seed: of the run; it decides a few-shot draw.
        suite: the suite, where there are several packs.
    Returns:
        The pack itself where the regime changes nothing of it.
    Raises:
        UsageError: fewer training images than shots.
    """
    if suite is not None:
        return _suite_pack(packs, suite), regime
    (pack,) = packs
    if regime.shots is None:
        seen = pack if regime.delivery == "native" else _one_pack(pack, pack.samples, regime)
        return seen, regime
    drawn = draw_shots(pack.split("train"), regime.shots, seed)
    regime = regime.model_copy(
        update={
            "drawn": drawn.keys,
            "drawn_digest": drawn.digest,
            "of_unknown_patient": drawn.of_unknown_patient,
        }
    )
    # A threshold or a checkpoint that labelled images chose would be supervision: none are there.
    return _one_pack(pack, (*drawn.samples, *pack.split("test")), regime), regime


def _one_pack(pack: Pack, samples: Iterable[Sample], regime: Regime) -> RegimePack:
    origins = {
        sample.key: MemberSample(pack, sample)
        for sample in sorted(samples, key=lambda sample: sample.key)
    }
    seen = [_delivered_sample(origin.sample, regime.delivery) for origin in origins.values()]
    fields = {name: getattr(pack, name) for name in Pack.__dataclass_fields__}
    return RegimePack(
        **(fields | {"samples": tuple(seen)}),
        packs=(pack,),
        delivery=regime.delivery,
        drawn_digest=regime.drawn_digest,
        origins=origins,
    )


def _suite_pack(packs: Sequence[Pack], suite: Suite) -> RegimePack:
    digest = content_digest(f"{pack.card.name}|{pack.digest}" for pack in packs)
    patients = [f"{pack.card.name}|{pack.digest}|{pack.patients}" for pack in packs]
    has_patients = any(pack.patients != NO_PATIENTS for pack in packs)
    is_listed = not any(not_known(pack.name) for pack in packs) or not suite.is_shipped
    origins = {
        f"{pack.card.name}/{sample.key}": MemberSample(pack, sample)
        for pack in packs
        for sample in pack.samples
    }
    samples = [
        replace(
            _delivered_sample(origin.sample, "256"),
            key=key,
            group=f"{origin.pack.card.name}/{origin.sample.group}",
        )
        for key, origin in sorted(origins.items())
    ]
    return RegimePack(
        name=suite.name if is_listed else unlisted_name(suite.name, digest),
        version=version_id(suite.name, digest),
        digest=digest,
        patients=content_digest(patients) if has_patients else NO_PATIENTS,
        root=packs[0].root,
        card=_suite_card(packs, suite, digest),
        samples=tuple(samples),
        has_masks=any(pack.has_masks for pack in packs),
        packs=tuple(packs),
        delivery="256",
        origins=origins,
    )


def _suite_card(packs: Sequence[Pack], suite: Suite, digest: str) -> PackCard:
    """What is known of all members together, as open as the least open of them."""
    cards = [pack.card for pack in packs]

    def joined(field: str) -> str:
        return "; ".join(dict.fromkeys(str(getattr(card, field)) for card in cards))

    counts = Counter[str]()
    for card in cards:
        counts.update(card.counts.model_dump())
    left_out = Counter[str]()
    for card in cards:
        left_out.update(card.left_out)
    return PackCard(
        name=suite.name,
        version=version_id(suite.name, digest),
        title=suite.title,
        modality=joined("modality"),
        visibility=strictest(card.visibility for card in cards),
        images_may_be_shown=all(card.images_may_be_shown for card in cards),
        show_evidence=joined("show_evidence"),
        licence=joined("licence"),
        citation=joined("citation"),
        source=joined("source"),
        access=joined("access"),
        name_rules=(),
        patients="independent" if all(card.patients == "independent" for card in cards) else None,
        shared_images=(),
        known_leaks=(),
        remarks=(),
        accepted=tuple(dict.fromkeys(reason for card in cards for reason in card.accepted)),
        left_out=dict(left_out),
        release="suite",
        has_masks=any(pack.has_masks for pack in packs),
        mode="RGB",
        sizes=(f"{DELIVERED_SIDE}x{DELIVERED_SIDE}",),
        counts=Counts(**counts),
        groups=Groups(**{split: _groups(cards, split) for split in ("train", "valid", "test")}),
    )


def _groups(cards: Iterable[PackCard], split: str) -> int | None:
    """Patients over all members; None where one of them does not know its own."""
    numbers = [getattr(card.groups, split) for card in cards]
    return None if None in numbers else sum(numbers)


def _delivered_sample(sample: Sample, delivery: Delivery) -> Sample:
    if delivery == "native":
        return sample
    return replace(sample, height=DELIVERED_SIDE, width=DELIVERED_SIDE)


def shares(pack: Pack) -> dict[str, float]:
    """By member, its share of the training images, 0 to 1, in the order of the suite."""
    counts = {member.name: len(member.split("train")) for member in pack.members}
    every = sum(counts.values())
    return {name: count / every for name, count in counts.items()}
