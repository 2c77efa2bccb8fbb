"""The record: one JSON file per run, everything a reader needs to trust or repeat it.

A run exists if and only if its record does. Undefined values are `null` with a
reason beside them, never NaN. The schema is versioned and exported by
`json_schema()`; `canonical_json` gives the bytes that the record's hash covers.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from harness.common.disclosure import Visibility
from harness.common.statuses import Status
from harness.records.energy import EnergyPart
from harness.records.machine import MachinePart
from harness.records.parts import (
    EngineFactsPart,
    Mark,
    OutcomePart,
    Part,
    Sha256,
    SourcesPart,
    WeightsPart,
)
from harness.records.regime import ONE_CLASS, Regime
from harness.records.supervision import Supervision

SCHEMA_VERSION = 1

Track = Literal["trained-here", "sealed", "open"]
Grid = Literal["native", "paper"]
AuditVerdict = Literal["passed", "adapts to the test set", "not reproducible"]
Parameter = bool | int | float | str | list[int] | list[float] | list[str]


class MetricValue(Part):
    """One metric on one grid."""

    id: str
    """Name in `harness.metrics.METRICS`, for example `pixel_auroc`."""
    grid: Grid | None
    """`native` or `paper` (256x256) for pixel and region metrics, None for image metrics."""
    value: float | None
    """The metric; None when it is undefined."""
    low: float | None = None
    """Lower end of the 95 % interval over patients or images."""
    high: float | None = None
    """Upper end of the 95 % interval."""
    n: int
    """Number of units behind the interval: patients where the pack knows them, else images."""
    reason: str | None = None
    """Why the value is undefined, or a remark such as `few patients`."""
    step: float | None = None
    """Precision to which a hidden pack's value was rounded; None where it is exact."""
    member: str | None = None
    """Of a suite's run: the benchmark whose images it is over, or `mean`, the mean over the members.
    None over all images of the run: of one pack, or pooled over a suite's."""

    @property
    def where(self) -> str:
        """Over what it is, in words: `image`, `native`, or `brain, native` of a suite's member."""
        told = self.grid or "image"
        return told if self.member is None else f"{self.member}, {told}"

    @model_validator(mode="after")
    def _undefined_has_a_reason(self) -> Self:
        if self.value is None and not self.reason:
            raise ValueError(f"metric {self.id} is undefined and gives no reason")
        return self


class EntryPart(Part):
    """What was run."""

    name: str
    """Name of the entry on the board (`--as NAME` where given)."""
    title: str
    """The method's name as its authors write it."""
    kind: Literal["folder", "submission", "image", "archive"]
    """Form in which the entry arrived."""
    identity: str
    """`folder:sha256:…` of a source folder, or `image:sha256:…` of an image's configuration."""
    image_digest: str | None = None
    """Registry digest, where the image has one."""
    sif: Sha256 | None = None
    """SHA-256 of the SIF that ran, of the apptainer engine: what was made of the image, or of
    Dockerfile.gpu, and no two times to the same bytes. None on other engines, and where an older
    harness wrote the record."""
    image: str | None = None
    """Id of the image that ran (hash of its configuration); None on the process engine."""
    source: str | None = None
    """Of a source folder: identity of its files and of what they stand on, from which git derives
    it again; None of an image, and where an older harness wrote the record."""
    built_on: Sha256 | None = None
    """Of a folder's image: hash of all else that decides what is in it; with `source` it gives
    the identity."""
    maps: bool
    """Whether the entry answered with anomaly maps."""
    preset: str
    """Hyper-parameter preset (`bmad` unless asked otherwise)."""
    params: dict[str, Parameter]
    """Resolved hyper-parameters, as sent in the hello frame."""
    overrides: dict[str, Parameter] = Field(default_factory=dict)
    """The part of `params` that `--set` changed."""
    made_of: SourcesPart | None = None
    """What a folder's identity is made of; None for an image, and where an older harness wrote it."""
    checkpoint_rule: dict[str, Parameter] | None = None
    """The rule by which checkpoints were judged: a part of the run key."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Paper, code, authors, licence, family, pretraining, deviations, as the entry declares them."""
    supervision: Supervision | None = None
    """What it had learned from before the run, as it declares it; None where it says nothing."""


class PackPart(Part):
    """On which images."""

    benchmark: str
    """Name that the pack stood under on the day of the run: `brain~` and six hex digits where its
    images were no known release of brain (`harness.records.releases`)."""
    base: str | None = None
    """Known benchmark that the pack says it is, or is another cut of."""
    version: str
    """Version id of the pack: its own name and the first twelve hex digits of its digest."""
    digest: Sha256 | None = None
    """Hash over splits, labels, decoded pixels and masks; None where an older harness wrote the
    record."""
    patients_digest: str | None = Field(default=None, pattern=r"^(none|sha256:[0-9a-f]{64})$")
    """Hash over the same and each image's patient, as the intervals resample them: a part of the
    run key. `none`: nothing tells whose the images are, and each counts by itself."""
    patients_stated: Literal["independent"] | None = None
    """`independent`: the pack's maker states that every image of whose patient nothing tells is of
    a patient of its own."""
    visibility: Visibility
    """Whether anything but aggregates may be published."""
    images_may_be_shown: bool
    """Whether the site may show the pack's images."""
    train: int
    """Number of training images (all normal)."""
    valid: int
    """Number of validation images."""
    test_normal: int
    """Number of normal test images."""
    test_anomalous: int
    """Number of anomalous test images."""
    patients: int | None
    """Number of patients in the test split, where the pack knows them."""
    accepted: tuple[str, ...] = ()
    """What of the pack's folder would be an error, and its owner accepts."""
    regions: int | None = None
    """Number of ground-truth regions (8-connectivity) in the test split."""
    regions_lost: int | None = None
    """Regions that vanish on the paper's 256x256 grid: counted, and left out of PRO there."""


class SourcePart(Part):
    """Which harness."""

    version: str
    """Version of the harness."""
    commit: str | None
    """Git commit of the harness, `+dirty` appended when the checkout was changed; None outside git."""
    contract: int
    """Contract version."""
    metrics: str
    """Version of the metric definitions."""
    lock: Sha256
    """Hash of the lock file."""


class Latency(Part):
    """Seconds per test image by the host's clock: from the send to the last byte of the answer.

    The session's first image, whatever its split, is warm-up and stands apart.
    """

    median: float
    p90: float
    p99: float
    warm_up: float
    """The session's first image; it counts in the others only where it is the only one."""


class TimesPart(Part):
    """Where the time went, in seconds."""

    started: str
    """Start of the run, ISO 8601 in UTC."""
    total: float
    """Whole run."""
    train: float | None = None
    """Train session; all its parts, where it was interrupted and went on; the original one where
    the model was taken from the store (it is no part of `total` then)."""
    start_up: float | None = None
    """Start of the predict session to its `ready` frame."""
    predict: float | None = None
    """Whole predict session."""
    latency: Latency | None = None
    """Per test image."""


class TrainingPart(Part):
    """How the checkpoint was chosen."""

    steps: int | None
    """Steps that the entry reported."""
    checkpoints: list[CheckpointPart] = Field(default_factory=list)
    """Every checkpoint, in order."""
    most_checkpoints: int | None = None
    """How many could be judged at most, all parts together: fixed before the training; 0 of a
    few-shot one. None where an older harness wrote the record."""
    kept: int | None = None
    """Step of the checkpoint that was kept; None when the last state was."""
    stop_reason: str
    """`finished`, or `no better checkpoint in N validations`."""
    resumed: int = 0
    """How often it was interrupted and went on from its own last state."""
    curve: list[CurvePoint] = Field(default_factory=list)
    """Progress as reported, thinned to at most 500 points; empty on hidden packs."""
    model: Sha256 | None = None
    """Hash over the files of the trained model."""

    @property
    def verdict_bits(self) -> float | None:
        """What the verdicts told the training of the validation labels, in bits, at most.

        They said nothing but one «stop», at one of so many checkpoints or at none.
        """
        return None if self.most_checkpoints is None else math.log2(self.most_checkpoints + 1)


class ModelPart(Part):
    """The trained model that answered."""

    hash: Sha256
    """Hash over its files."""
    origin: Literal["trained", "stored", "given"]
    """Trained in this run; taken from the store, where an earlier run of the same key had trained
    it; or given with the call."""
    trained_under: Sha256 | None
    """Key of its training by this harness (`RunKey.training_hash`); None where nothing is known of it."""
    remark: str | None = None
    """What is unknown of a given model, or differs from what this run would have trained."""


class CheckpointPart(Part):
    """One checkpoint as the harness scored it on the validation split."""

    step: int
    metric: str
    value: float | None
    kept: bool


class CurvePoint(Part):
    """One progress frame."""

    step: int
    loss: float | None


class CostPart(Part):
    """Memory as the host saw it, in MiB; None where the host cannot see it."""

    peak_ram_mib: float | None = None
    """Peak RAM of a session: of the container's control group, page cache included, or (process
    engine) of the largest process."""
    peak_gpu_mib: float | None = None
    """Peak GPU memory of a session's processes as the driver counts it, the CUDA context included."""


class MapsPart(Part):
    """What the anomaly maps were like."""

    dtype: Literal["float16", "float32"]
    levels: int | None
    """Number of distinct values over the test split."""
    largest_bin: float | None
    """Share of the pixels that hold the most frequent value."""


class PublicPart(Part):
    """What a record of a hidden pack holds in its public form (`harness.publishing.public_form`) alone."""

    commitment: Sha256
    """Hash of a secret salt, the exact record's hash and the evidence's: binds the maintainer to
    them, and tells nobody anything of them."""
    seconds_per_image: float | None = None
    """Median of the times per test image, to two digits."""


class AuditPart(Part):
    """Whether the answer to an image hangs on what the entry saw before it (`harness.running.audit`)."""

    verdict: AuditVerdict
    images: int
    """Number of test images that two fresh starts were asked about once more."""
    tolerance: float | None
    """Largest shift among the run's answers that counts as alike, a share; None: equal bytes."""
    detail: str = ""
    """One sentence that counts what differs; empty where nothing does."""
    seconds: float
    """What the audit took; no other time holds it but the total."""


class Record(Part):
    """One finished run."""

    schema_version: Literal[1] = 1
    run_key: Sha256
    """Hash of everything that decides the result (`harness.records.run_key`)."""
    entry: EntryPart
    pack: PackPart
    """Of a suite: all its members together, as open as the least open of them."""
    members: tuple[PackPart, ...] = ()
    """The packs of a suite, in its order; empty where the run is of one pack."""
    regime: Regime | None = None
    """What the entry could learn from; None where an older harness wrote the record: one-class."""
    seed: int
    track: Track
    ranked: bool
    """Whether the row may take a rank."""
    unranked_reason: str | None = None
    """Why not, for example `random weights`."""
    limits: dict[str, float | int]
    """Limits of the run."""
    machine: MachinePart
    weights: tuple[WeightsPart, ...] | None = None
    """The pretrained files that the entry could read, by name; None where an older harness wrote the
    record."""
    source: SourcePart
    times: TimesPart
    training: TrainingPart | None = None
    """Of a stored model: its training in the run that trained it."""
    model: ModelPart | None = None
    """None where the entry does not train, or failed before it had."""
    cost: CostPart = CostPart()
    energy: list[EnergyPart] = Field(default_factory=list)
    """By the machine's counters, of the GPU where the run had one and of the processor; empty where
    an older harness wrote the record."""
    maps: MapsPart | None = None
    outcome: OutcomePart
    metrics: list[MetricValue] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    """Remarks for the reader, such as few levels in the maps."""
    marks: list[Mark] = Field(default_factory=list)
    """Those of them that every row of the run bears."""
    engine_facts: EngineFactsPart | None = None
    """None where an older harness wrote the record, and in the public form of a hidden run."""
    audit: AuditPart | None = None
    """None where the run was not audited."""
    answers: Sha256 | None = None
    """Hash over all answers of the run, each by its image; equal hashes are equal answers."""
    evidence: Sha256 | None = None
    """Hash of the evidence file beside the record."""
    public: PublicPart | None = None
    """Present in the public form of a hidden run alone."""
    rescored: SourcePart | None = None
    """The harness that brought the intervals to its own metric definitions from the evidence,
    without a run; None where they are of the harness that ran."""
    record_hash: Sha256 | None = None
    """Hash over the canonical JSON of everything else; set by `sealed()`."""

    @field_validator("metrics")
    @classmethod
    def _one_value_per_metric_and_grid(cls, metrics: list[MetricValue]) -> list[MetricValue]:
        keys = [(metric.id, metric.grid, metric.member) for metric in metrics]
        if len(keys) != len(set(keys)):
            raise ValueError("a metric stands twice in the record")
        return metrics

    @property
    def is_ok(self) -> bool:
        """The run finished and its metrics count."""
        return self.outcome.status is Status.OK

    @property
    def is_settled(self) -> bool:
        """The run would end so again, well or without a result, and is no failure."""
        return self.outcome.status.is_settled

    @property
    def metrics_version(self) -> str:
        """Version of the metric definitions that the metrics are of."""
        return (self.rescored or self.source).metrics

    @property
    def is_publishable(self) -> bool:
        """Infrastructure faults and interruptions never reach the board."""
        return self.outcome.status.reaches_the_board

    @property
    def seconds_per_image(self) -> float | None:
        """Median of the times per test image."""
        if self.public is not None:
            return self.public.seconds_per_image
        return self.times.latency.median if self.times.latency else None

    def metric(
        self, metric_id: str, grid: Grid | None, member: str | None = None
    ) -> MetricValue | None:
        """The metric on that grid, or None when the record does not hold it.

        Args:
            metric_id: name of the metric.
            grid: `native`, `paper`, or None for image metrics.
            member: of a suite's run, whose; see `MetricValue.member`.
        """
        for metric in self.metrics:
            if (metric.id, metric.grid, metric.member) == (metric_id, grid, member):
                return metric
        return None

    @property
    def is_of_suite(self) -> bool:
        """Whether the run is of several packs at once."""
        return bool(self.members)

    @property
    def place(self) -> str:
        """Folder of the record below the results: the benchmark, or suite, and the regime."""
        return (self.regime or ONE_CLASS).place(self.pack.benchmark)

    def sealed(self) -> Record:
        """The same record with its hash over the canonical JSON of all other fields."""
        bare = self.model_copy(update={"record_hash": None})
        return bare.model_copy(update={"record_hash": content_hash(bare.as_json_object())})

    def is_intact(self) -> bool:
        """Whether the stored hash is that of the content."""
        return is_intact(self.as_json_object())

    def as_json_object(self) -> dict[str, Any]:
        """The record as plain JSON types."""
        return self.model_dump(mode="json")


TrainingPart.model_rebuild()


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted keys and no white space: the bytes that hashes cover.

    Raises:
        ValueError: the value holds NaN or infinity.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def content_hash(value: object) -> str:
    """`sha256:` and the hex digest of the canonical JSON of `value`."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()


def is_intact(stored: dict[str, Any]) -> bool:
    """Whether the hash in a record's JSON is that of its other fields, as they stand there."""
    bare = {name: value for name, value in stored.items() if name != "record_hash"}
    return bool(stored.get("record_hash") == content_hash(bare | {"record_hash": None}))


def json_schema() -> dict[str, Any]:
    """JSON Schema of a record, for the documentation and for other programs."""
    return Record.model_json_schema()
