"""What a run takes by the table that ships with the harness: measured, else counted.

`throughput.json` holds, for every baseline at full size, what it does (operations, bytes,
kernels: no device changes these), and, for each kind of device that somebody measured, seconds.
A device without measured rows gets an estimate from the counts and the rates that the table
presumes of it; whoever prints one says so. `make bench-baselines` writes the table. Traps: a
training that stops early takes less; the harness's own share (pipe, scoring) is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness.records.record import Parameter

TABLE = Path(__file__).with_name("throughput.json")
Params = Mapping[str, Parameter]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# --- what is done: the same on every device ----------------------------------------------


class StepWork(_Part):
    """Operations of one step, one image or one pass."""

    bfloat16_flops: float = 0.0
    """Floating-point operations of products in bfloat16; a multiplication and an addition are two."""
    float32_flops: float = 0.0
    """The same in float32."""
    bytes: float = 0.0
    """Read and written by everything else."""
    launches: float = 0.0
    """Kernels that are launched one by one, products among them, and replays of CUDA graphs."""
    replayed: float = 0.0
    """Kernels inside the CUDA graphs."""

    def plus(self, other: StepWork, factor: float = 1.0) -> StepWork:
        """This and so many times the other."""
        return StepWork(
            bfloat16_flops=self.bfloat16_flops + factor * other.bfloat16_flops,
            float32_flops=self.float32_flops + factor * other.float32_flops,
            bytes=self.bytes + factor * other.bytes,
            launches=self.launches + factor * other.launches,
            replayed=self.replayed + factor * other.replayed,
        )


class Batches(_Part):
    """Work on images in batches."""

    per_batch: StepWork = StepWork()
    """Whatever the size of the batch."""
    per_image: StepWork = StepWork()
    """More for each of its images."""

    def of(self, size: float) -> StepWork:
        """One batch of this size."""
        return self.per_batch.plus(self.per_image, size)


class Phase(_Part):
    """One phase of a training: which parameters say how long it is, and what a step does."""

    epochs: str = "epochs"
    """Name of the parameter."""
    batch_size: str = "batch_size"
    """Name of the parameter."""
    passes: str = ""
    """Name of the parameter with the passes of an epoch; empty = one."""
    steps: str = ""
    """Name of the parameter with the steps of an epoch; empty = as many as the passes have."""
    is_judged: bool = True
    """Whether the harness asks the validation images at its checkpoints."""
    step: Batches = Batches()
    """One step."""

    def length(self, params: Params, images: int) -> Length:
        """Steps, images and checkpoints of the whole phase."""
        epochs, size = _number(params, self.epochs), _number(params, self.batch_size)
        steps = _number(params, self.steps) if self.steps else 0
        passes = _number(params, self.passes) if self.passes else 1
        steps = steps or passes * -(-images // size)
        every = _number(params, "checkpoint_every_epochs")
        checkpoints = -(-epochs // every) if every else 0
        return Length(epochs * steps, min(size, images), checkpoints)


@dataclass(frozen=True)
class Length:
    """How long a phase is."""

    steps: int
    """Steps."""
    batch_size: int
    """Images of a step; the last of a pass may be smaller."""
    checkpoints: int
    """How often the state is written."""


class Selection(_Part):
    """PatchCore's memory: its selection grows with the square of the training images."""

    patches_per_image: int
    dimensions: int
    ratio: float
    """Of the patches that are kept."""
    bytes_per_patch: float
    """Read and written of each patch at each choice."""
    launches_per_choice: float
    bytes_per_distance: float
    """Read and written of each distance of a prediction."""

    def choices(self, images: int) -> float:
        """Patches that are kept."""
        return self.ratio * self.patches_per_image * images

    def fit(self, images: int) -> StepWork:
        """The whole selection."""
        choices = self.choices(images)
        moved = choices * self.patches_per_image * images * self.bytes_per_patch
        return StepWork(bytes=moved, launches=choices * self.launches_per_choice)

    def search(self, images: int) -> StepWork:
        """All distances of one image's patches to the memory."""
        pairs = self.choices(images) * self.patches_per_image
        return StepWork(
            float32_flops=2 * pairs * self.dimensions, bytes=pairs * self.bytes_per_distance
        )


class OperationCounts(_Part):
    """What one baseline does at full size."""

    settings: dict[str, Parameter]
    """The parameters that decide it, and their values here."""
    phases: tuple[Phase, ...] = ()
    """Of the training; none where there are no steps."""
    passes: int = 1
    """Passes over the images before the first step, or instead of steps."""
    first_pass: Batches = Batches()
    """One such pass, by batch."""
    fitting: StepWork = StepWork()
    """After it, whatever the number of images."""
    judging_pass: Batches = Batches()
    """Pass over the training images before each checkpoint."""
    prediction: StepWork = StepWork()
    """One image."""
    selection: Selection | None = None
    """PatchCore's alone."""
    kept_bytes_per_image: float = 0.0
    """What the first pass leaves on a GPU for the steps; where it does not fit, each step does
    that pass's work on its own images."""
    host_seconds_per_image: float = 0.0
    """Of a training step: what runs on the CPU whatever the device (measured, one thread). On a
    GPU it goes on beside the step before, and counts where it takes longer."""


# --- what was measured -------------------------------------------------------------------


class Machine(_Part):
    """On what a row was measured, and when."""

    name: str
    """The GPU, or the CPU."""
    threads: int
    """CPU threads."""
    date: str
    """Day of the last measurement (ISO 8601)."""
    harness: str
    """Version of the harness."""
    python: str
    torch: str
    remark: str = ""
    """Such as: other work on the same cores."""


class Anomalib(_Part):
    """The same method in anomalib's engine, same settings and precision, same machine."""

    seconds_per_image: float
    """Of its training, or of its one pass."""
    workers: int
    """Processes that load images."""


class CostRow(_Part):
    """One baseline on one kind of device, in seconds and MiB."""

    batch_size: int
    """Images of a step when it was measured."""
    phase_seconds: tuple[float, ...] = ()
    """Per image of a step, of each phase, in the baseline's own `fit`."""
    bare_seconds: tuple[float, ...] = ()
    """The same of the bare step on a batch that lies on the device."""
    ratios: tuple[float, ...] = ()
    """Rate of the loop over that of the bare step: median over rounds side by side."""
    pass_seconds: float = 0.0
    """Per image of the pass before, or instead of, the steps."""
    extraction_seconds: float | None = None
    """Per image, features alone (methods without steps)."""
    fitting_seconds: dict[str, float] = {}
    """After that pass, by benchmark; `any` where the images do not matter."""
    judging_seconds: float = 0.0
    """Per training image, before each checkpoint."""
    state_seconds: float = 0.0
    """To write the training's state down."""
    start_up_seconds: float
    """From the start of the process to a model that can be asked."""
    prediction_seconds: dict[str, float]
    """Median for one image, by benchmark."""
    prediction_p90_seconds: dict[str, float] = {}
    first_prediction_seconds: float | None = None
    """The very first call."""
    peak_ram_mib: float | None = None
    """Resident set of the process."""
    peak_torch_mib: float | None = None
    """PyTorch's own count of allocated GPU memory."""
    peak_reserved_mib: float | None = None
    """GPU memory that PyTorch reserved."""
    peak_gpu_mib: float | None = None
    """GPU memory as the host saw it, in a short real run."""
    anomalib: Anomalib | None = None
    """None where anomalib has no such method, or it was not measured."""


class Device(_Part):
    """One kind of device."""

    machine: Machine
    loading_seconds: dict[str, float]
    """Per training image, decoded and resized, by benchmark."""
    entries: dict[str, CostRow]


# --- what is presumed of devices that nobody measured --------------------------------------


class Peak(_Part):
    """A GPU by its maker's data sheet."""

    bfloat16_tflops: float
    """Dense, tensor cores."""
    float32_tflops: float
    """Without TensorFloat-32, which the kit switches off."""
    gigabytes_per_second: float
    """Of its memory."""
    gigabytes: float
    """Its memory."""


class Presumed(_Part):
    """Which share of a data sheet's rates is reached, and what a kernel costs at least."""

    bfloat16_share: float
    float32_share: float
    memory_share: float
    launch_seconds: float
    """Of a kernel that is launched by itself, at least."""
    replayed_seconds: float
    """Of a kernel inside a replayed CUDA graph, at least."""
    kept_share: float
    """Of the memory: what a method may keep of its training images' features."""
    gpus: dict[str, Peak]
    """By a part of the name that the driver tells."""

    def seconds(self, work: StepWork, peak: Peak) -> float:
        """Products, then memory; never less than all kernels take to start."""
        products = work.bfloat16_flops / (self.bfloat16_share * peak.bfloat16_tflops * 1e12)
        products += work.float32_flops / (self.float32_share * peak.float32_tflops * 1e12)
        moving = work.bytes / (self.memory_share * peak.gigabytes_per_second * 1e9)
        starting = self.launch_seconds * work.launches + self.replayed_seconds * work.replayed
        return max(products + moving, starting)


class Table(_Part):
    """The table that ships."""

    presumed: Presumed
    counts: dict[str, OperationCounts]
    measured: dict[str, Device]
    """By kind of device: `cpu`, or the GPU's model."""


@cache
def shipped() -> Table:
    """The table beside this file."""
    return Table.model_validate_json(TABLE.read_bytes())


# --- estimates -----------------------------------------------------------------------------


@dataclass(frozen=True)
class RunSize:
    """A run whose cost is wanted."""

    entry: str
    """Name of the baseline."""
    params: Params
    """Its hyper-parameters."""
    benchmark: str
    """Name of the benchmark."""
    train: int
    """Training images."""
    valid: int
    """Validation images."""
    test: int
    """Test images."""


@dataclass(frozen=True)
class Parts:
    """What a run takes, in seconds."""

    start_up: float
    """Both starts of its program."""
    training: float
    """Loading, passes, steps, and what is written at checkpoints."""
    judging: float
    """Validation images at checkpoints."""
    prediction: float
    """Validation images for thresholds, and the test images."""

    @property
    def total(self) -> float:
        """All together."""
        return self.start_up + self.training + self.judging + self.prediction


def estimate(table: Table, asked: RunSize, device: str) -> tuple[Parts, str] | None:
    """What a run takes on a kind of device, and on what that rests; None where nothing is known.

    Args:
        device: `cpu`, or the GPU's model as the driver names it.
    """
    counts = table.counts.get(asked.entry)
    if counts is None or not _is_same_work(counts, asked.params):
        return None
    measured = table.measured.get(device)
    if measured is not None and asked.entry in measured.entries:
        parts = _measured(measured, counts, asked)
        return parts, f"scaled from the shipped table, measured on {measured.machine.name}"
    name = next((name for name in table.presumed.gpus if name in device.split()), None)
    if name is None:
        return None
    return _counted(table, counts, asked, name), "estimated from FLOPs, not measured"


def _is_same_work(counts: OperationCounts, params: Params) -> bool:
    """Whether an entry of the name does what was counted, and says how long it trains."""
    lengths = {"batch_size"} & params.keys()
    for phase in counts.phases:
        lengths |= {phase.epochs, phase.batch_size, phase.passes, phase.steps} - {""}
        lengths.add("checkpoint_every_epochs")
    is_told = all(isinstance(params.get(name), int) for name in lengths)
    is_told = is_told and all(params[name] for name in lengths if name.endswith("batch_size"))
    return is_told and all(params.get(name) == value for name, value in counts.settings.items())


def _measured(device: Device, counts: OperationCounts, asked: RunSize) -> Parts:
    row = device.entries[asked.entry]
    answer = _of(row.prediction_seconds, asked.benchmark)
    training = asked.train * (
        _of(device.loading_seconds, asked.benchmark) + counts.passes * row.pass_seconds
    )
    training += _of(row.fitting_seconds, asked.benchmark) if row.fitting_seconds else 0.0
    judged = 0
    for phase, seconds in zip(counts.phases, row.phase_seconds, strict=True):
        length = phase.length(asked.params, asked.train)
        training += images_seen(phase, asked) * seconds + length.checkpoints * row.state_seconds
        if phase.is_judged:
            judged += length.checkpoints
    training += judged * asked.train * row.judging_seconds
    return Parts(
        2 * row.start_up_seconds,
        training,
        judged * asked.valid * answer,
        (asked.valid + asked.test) * answer,
    )


def images_seen(phase: Phase, asked: RunSize) -> float:
    """Images of all steps of a phase: the last batch of a pass is not full."""
    length = phase.length(asked.params, asked.train)
    per_pass = -(-asked.train // length.batch_size)
    if length.steps % per_pass:
        return length.steps * length.batch_size
    return length.steps * asked.train / per_pass


def _counted(table: Table, counts: OperationCounts, asked: RunSize, gpu: str) -> Parts:
    peak, presumed = table.presumed.gpus[gpu], table.presumed
    on_cpu = table.measured.get("cpu")
    row = on_cpu.entries.get(asked.entry) if on_cpu else None
    start_up = row.start_up_seconds if row else 0.0
    loading = _of(on_cpu.loading_seconds, asked.benchmark) if on_cpu else 0.0

    def seconds(work: StepWork) -> float:
        return presumed.seconds(work, peak)

    def one_pass(batches: Batches) -> float:
        size = int(asked.params.get("batch_size", 1))  # type: ignore[arg-type]
        return -(-asked.train // size) * seconds(batches.of(size))

    answer = seconds(counts.prediction)
    kept = counts.kept_bytes_per_image * asked.train
    is_kept = kept <= presumed.kept_share * peak.gigabytes * 1e9
    training = asked.train * loading
    training += counts.passes * one_pass(counts.first_pass) if is_kept else 0.0
    training += seconds(counts.fitting)
    if counts.selection:
        training += seconds(counts.selection.fit(asked.train))
        answer += seconds(counts.selection.search(asked.train))
    judged = 0
    for phase in counts.phases:
        length = phase.length(asked.params, asked.train)
        work = phase.step.of(length.batch_size)
        if not is_kept:
            work = work.plus(counts.first_pass.of(length.batch_size))
        # The CPU prepares and launches a step while the GPU is at the one before.
        host = length.batch_size * counts.host_seconds_per_image
        host += presumed.launch_seconds * work.launches
        training += length.steps * max(seconds(work), host)
        if phase.is_judged:
            judged += length.checkpoints
    training += judged * one_pass(counts.judging_pass)
    return Parts(
        2 * start_up,
        training,
        judged * asked.valid * answer,
        (asked.valid + asked.test) * answer,
    )


def _of(by_benchmark: Mapping[str, float], benchmark: str) -> float:
    """The benchmark's own number; of one that was not measured, the largest."""
    if benchmark in by_benchmark:
        return by_benchmark[benchmark]
    return max(by_benchmark.values())


def _number(params: Params, name: str) -> int:
    value = params[name]
    if not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}, and should be a whole number")
    return value
