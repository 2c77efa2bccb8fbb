"""The guide: every word of the pages on which a reader may stumble, explained once.

Each term has an anchor, so that a table can link to it. The one-line meanings stand in
`words.py`; the exact definitions of metrics come from the harness itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leaderboard import words


@dataclass(frozen=True)
class Term:
    """One explained word."""

    key: str
    """Anchor on the guide's page."""
    title: str
    """The word."""
    line: str
    """One sentence."""
    more: str = ""
    """Further sentences; the exact definition of a metric."""
    link: tuple[str, str] | None = None
    """A file of the site that tells more, and what it is."""


@dataclass(frozen=True)
class Chapter:
    """Terms that belong together."""

    key: str
    """Anchor."""
    title: str
    """Heading."""
    terms: tuple[Term, ...]
    """In reading order."""


_ROWS = (
    Term(
        "cell",
        "Behind a value",
        "Every value leads to what is behind it: each seed, the interval, the reason of its rank, the"
        " records, how to cite it.",
        "Arrow keys go from value to value. What opens has an address of its own, and all of it stands"
        " on the entry's page too.",
    ),
    Term(
        "rank",
        "Rank",
        "1 + the number of entries of the same track that are significantly better. In italics, where"
        " nothing was compared: the first three by mean.",
        (
            "Means over seeds are compared over the same test patients (images, where patients are"
            " unknown): each patient is left out in turn, for all entries alike, and the spread over"
            " an entry's seeds comes on top. Differences are tested at 5 % by Student's t after"
            " Holm's correction over all pairs of a column; among simulated equal entries some lead"
            " was found in less than 5 of 100 columns. How likely each place is comes from 2,000"
            " joint resamples of patients and seeds."
            " Ranks do not chain: that A ties with B and B with C does not make A and C tie. Leads do:"
            " an entry below B is below all that are above B."
        ),
    ),
    Term(
        "tie",
        "Ties, “=”",
        "Entries that share a rank cannot be told apart; “=” says that there are others, of this rank"
        " or the next, that it cannot be told from.",
        "Each benchmark's page names, for every entry, those that it cannot be told from. With a wide"
        " interval an entry has nobody above it for certain, and so a good rank, also where its score is"
        " lower than that of another.",
    ),
    Term(
        "average-rank",
        "Average rank",
        "Mean of an entry's ranks over all columns of the table.",
        (
            "Only entries that are ranked in every column have one; a gap would make it easier, not"
            " harder, to lead."
        ),
    ),
    Term(
        "stability",
        "Rank stability",
        "How often an entry takes each place when the test patients are drawn again.",
        "A square of full size means always. A broad row is a place that chance decides.",
    ),
    Term(
        "unranked",
        "Unranked",
        "The row takes no place, for the reason given beside it.",
        (
            "Random weights test the machinery, not the method. Unpinned weights: the digest of a"
            " pretrained file is none of the project’s table; own backbone: a maintainer’s, likewise."
            " Not isolated: the entry ran as a"
            " plain process, with nothing between it and the machine. Same user without a reviewed source:"
            " a bound or the filter of system calls was missing, and nobody has read what ran. Not a known release: the images"
            " are not known as those of the benchmark that they are called; such rows stand under its"
            " name with six digits of their digest, and are not comparable with the paper."
        ),
    ),
    Term(
        "supervision",
        "Had learned from",
        "What the method had learned from before its runs, as its author declares it.",
        (
            "What a run gives it the harness knows. “No labels”: no image of a benchmark and no"
            " labelled anomaly data of others. “Normal images”, “abnormal images”: of the benchmarks,"
            " before it came. “Other data's labels”: other labelled anomaly data, such as the test"
            " splits of other benchmarks. Pretraining is asked apart: whether that of the method or of"
            " its backbone saw a benchmark's images or labels. Nothing of it is measured; “unknown” is"
            " an answer. With several benchmarks in a line the worst answer stands there."
        ),
    ),
    Term(
        "regimes",
        "Regimes",
        "What a method may learn from in its run: everything, several benchmarks at once, a few images, or nothing.",
        (
            "One-class: one model for each benchmark, from all its normal training images. Unified: one"
            " model for all benchmarks of a suite; nobody tells it which one an image is of, and every"
            " image is 256 × 256 and RGB. Few-shot: k normal images, drawn by the harness by the run's"
            " seed; no checkpoint is chosen on labelled images. Zero-shot: none; “declared” where it is an"
            " image's word alone, for an image may carry trained weights. Entries are ranked within one"
            " regime. Trivial baselines and the canary learn nothing, and stand in all of them."
        ),
    ),
    Term(
        "sibling",
        "One-class, and Δ, beside a unified value",
        "The same entry trained on that benchmark alone with the same images of 256 × 256, and unified less one-class in points.",
        (
            "The interval is at 95 %: each test patient is left out in turn for both alike, so what makes"
            " a patient hard for both cancels, and the spread over seeds comes on top. It is NA where the"
            " one-class runs are missing, failed, or are of other images or other code. The mean over the"
            " benchmarks is unweighted; “pooled” counts each pair of benchmarks the same, and “across”"
            " is what is left of it between different ones: whether a score means the same everywhere."
        ),
    ),
    Term(
        "audit",
        "Audit",
        (
            "After a run, two fresh starts are asked about 32 test images once more, in a new order:"
            " the row is marked where answers differ."
        ),
        (
            "“Not reproducible”: the two fresh starts differ from each other. “Adapts to the test"
            " set”: they agree, and the run said something else, so its answer hung on the images in"
            " between. Equal bytes on a CPU; on a GPU, nearly the same place among"
            " the run’s answers, which no single answer can widen."
        ),
    ),
    Term(
        "trivial",
        "Trivial baselines, ▽",
        "What a single number such as the mean grey value scores; ▽ marks what does no better.",
        "A method below that bar has learned nothing that a ruler would not see.",
    ),
    Term(
        "canary",
        "Canary",
        "An entry that looks every image up in the public test set: what memorising alone scores.",
        "It stands on the board to show what a high number on the open track can mean.",
    ),
    Term(
        "reported",
        "As reported",
        "A row of the BMAD paper's own Tables 2 and 3, not measured here.",
        "The paper scored each method at its own input size, and gives no interval.",
    ),
    Term(
        "delta",
        "Δ",
        "Measured minus reported, in percentage points.",
        (
            "Pixel metrics are compared on the paper's 256 × 256 grid alone, so Δ is not the"
            " difference of the two numbers that stand in the table."
        ),
    ),
    Term("waiting", "Waiting", "A submission that was accepted and has no finished run yet."),
)
_VALUES = (
    Term(
        "two-spreads",
        "± and [ , ]: two spreads",
        "± is over seeds: the method's own chance. [ , ] is over test images: the choice of patients.",
        (
            "± is the standard deviation over seeds (n − 1). One says nothing of the other:"
            " a method without any randomness still depends on which patients were tested."
        ),
    ),
    Term(
        "interval",
        "95 % interval, [ , ]",
        (
            "What the value may be with other patients: each patient (or image, where patients are"
            " unknown) is left out in turn, and the interval lies on the logit scale. From 20 patients"
            " up it held the true value in 93 to 98 of 100 simulated runs, metric by metric; that of"
            " AUPIMO in 89 to 99, by how many patients there are and what they hold."
        ),
        (
            "A value of exactly 100 has an interval with one end: the lower one is where a sample"
            " without any error would still be seen in 5 of 100 cases. With fewer than 6 patients of"
            " either kind there is no interval, and NA stands with the reason."
        ),
        link=("data/interval-coverage.csv", "how often it covers, metric by metric"),
    ),
    Term(
        "few-patients",
        "Few patients",
        "Below 20 patients, or 10 with what is counted of either kind, an interval is marked: it"
        " covers less surely.",
        "Liver CT has about 11 volumes and RESC 10 patients in the test split.",
    ),
    Term(
        "na",
        "NA",
        "The value does not exist, for the reason given; it is never zero and sorts last both ways.",
        (
            "For example: a method that gives one score per image has no pixel metric; a benchmark"
            " without lesion masks has none for anybody; Dice has no value for a constant map. “Not"
            " applicable”: the method cannot learn from what the run gives it, such as one image where"
            " its smallest batch has two. That is nobody's failure."
        ),
    ),
    Term("not-run", "–", "Not run on this benchmark, or not in the paper."),
    Term(
        "failed",
        "Failed",
        "At least one seed's run failed, so no mean is shown.",
        "The entry's page has the other seeds, the reason and the remedy.",
    ),
    Term(
        "cost",
        "s / image and GPU memory",
        "Median seconds per test image by the harness's clock; below it the peak of GPU memory as the driver"
        " counts it, and the seconds less the pipe's own share.",
        (
            "The clock runs from the sending of an image to the last byte of its answer, one image at a"
            " time; start-up, the first image of a session (warm-up) and validation images are not in"
            " it. `Less echo` is the same less the time of an entry that answers at once, measured on"
            " the same machine, engine and images: what the method takes without the pipe. Where images"
            " may be shown, the time includes sending the map, also on benchmarks without lesion masks."
        ),
    ),
    Term(
        "energy",
        "Energy",
        "Joules of the whole GPU, and of all processor packages, by the machine's own counters.",
        (
            "The GPU's is NVML's total energy counter, the processor's the kernel's RAPL counters, which"
            " only root may read on most machines and which leave the memory out. A counter knows no"
            " programs: idle power, the harness and whatever else ran there are in the number, and"
            " `shared` marks a row beside whose runs others were seen. Per image it is the mean over"
            " the timed test images, with what the harness does between two of them; per training"
            " the whole train session. Where a counter cannot be read the number is absent and the"
            " reason stands beside it."
        ),
    ),
    Term(
        "grid",
        "Native and 256 × 256",
        "Pixels are scored on the image as delivered (the headline) and on the paper's grid.",
    ),
    Term(
        "pictures",
        "Pictures",
        "Best, median, worst and false alarm are chosen by rule, never by hand.",
        (
            "By the AUROC of the map within the image, or by the image score where there are no lesion"
            " masks, or no maps. The images that are the same for every method come from the ground truth"
            " alone: five lesions from small to large, without masks one of each subclass in turn, and two"
            " normal images. The hardest of a run are the anomalous images with its lowest scores and the"
            " normal ones with its highest."
            " Colours run from the smallest to the largest value of the whole run, as in the paper's"
            " Figure 2, so the same colour means the same share of the range in every picture."
            " Pictures are shown only where the terms of the images allow it. Each leads to its full size,"
            " where a slider lays the map over the image and the arrow keys go from one to the next."
        ),
    ),
    Term(
        "found",
        "Hit, missed, false alarm, passed",
        "Whether a run calls an image anomalous, which it does where its score is at or above its threshold.",
        (
            "An anomalous image that is called so is a hit, or found, and else missed; a normal one is a"
            " false alarm, or correctly passed. The threshold is the run's own, that of the best F1 on the"
            " test images (`image_f1_max`), the kindest there is: the benchmarks set none before the test."
            " “Found by 3 of 8” counts the methods with pictures whose runs call that image anomalous, and"
            " is told of those images alone that all of them show."
            " A score may be right for the wrong reason: the share of the lesion's pixels that the map"
            " marks is said beside it, at the map value of the best Dice on the validation images (the one"
            " behind `dice_at_valid`). At that value solid blue lines enclose what of the lesion is found, dashed red ones what is missed,"
            " dotted yellow ones what is marked by mistake."
            " In marks a disc is right and a square wrong, filled is an alarm and hollow none."
        ),
    ),
)
_TRUST = (
    *(Term(key, words.TRACKS[key].capitalize(), words.TRACK_MEANINGS[key]) for key in words.TRACKS),
    Term(
        "isolation",
        "Isolation",
        "What stood between an entry and the machine, as it was measured before its run.",
        (
            f"“{words.ISOLATIONS['container'].capitalize()}”: {words.ISOLATION_MEANINGS['container']}"
            f" “{words.ISOLATIONS['same user'].capitalize()}”: {words.ISOLATION_MEANINGS['same user']}"
            f" “{words.ISOLATIONS['none'].capitalize()}”: {words.ISOLATION_MEANINGS['none']}"
            " Entries see one image at a time, under a random name, and never a label. What a training can"
            " learn of the validation labels is when it is told to stop: log2(K + 1) bits at most for K"
            " checkpoints, 6.7 for the 100 that are judged unless a run says otherwise."
        ),
    ),
    Term(
        "hidden",
        "Hidden pack",
        "Only rounded means, ranks and statuses are published.",
        (
            "An entry chooses its own scores, so it could write labels into anything finer: a curve, a"
            " histogram, an interval, a list of values per image."
        ),
    ),
    Term(
        "identity",
        "Identity, pack version, commit",
        "Three hashes that say which code answered, on which images, scored by which harness.",
        "Equal hashes on the same machine give equal digits.",
    ),
)


def chapters(definitions: Mapping[str, str]) -> tuple[Chapter, ...]:
    """The whole guide.

    Args:
        definitions: exact definition of each metric, by name.
    """
    metrics = tuple(
        Term(
            metric_key(name),
            words.metric_words(name).title,
            words.metric_words(name).meaning or definitions.get(name, ""),
            f"Exactly: {definitions[name]}" if name in definitions else "",
        )
        for name in dict.fromkeys([*words.METRICS, *definitions])
        if not name.endswith("*")
    )
    return (
        Chapter("rows", "Ranks and rows", _ROWS),
        Chapter("values", "What stands in a cell", _VALUES),
        Chapter("metrics", "Metrics", metrics),
        Chapter("trust", "How a row was made", _TRUST),
    )


def metric_key(name: str) -> str:
    """Anchor of a metric."""
    whole = name.partition(":")[0]
    return "metric-" + "".join(c if c.isalnum() else "-" for c in whole)


TERMS: Mapping[str, Term] = {term.key: term for term in (*_ROWS, *_VALUES, *_TRUST)}
"""Every term that is not a metric, by its anchor."""
