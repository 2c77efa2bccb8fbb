"""Two entries: Holm's correction against its own procedure, and what is said of a difference."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.board.pair_comparison import (
    MetricDifference,
    PairComparison,
    pair_latex,
    pair_text,
    paper_sentence,
)
from harness.board.table_formats import latex_text, markdown_text
from harness.metrics.ranks import holm


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_the_running_maximum_of_what_is_left(p_values: list[float]) -> None:
    ordered = np.sort(p_values)
    steps = np.maximum.accumulate(ordered * np.arange(len(ordered), 0, -1)).clip(max=1)
    assert np.allclose(np.sort(holm(p_values)), steps)
    assert all(corrected >= p for corrected, p in zip(holm(p_values), p_values, strict=True))
    # decided at 5 % as Holm's own procedure decides it
    decided = 0
    for place, p in enumerate(ordered):
        if p > 0.05 / (len(ordered) - place):
            break
        decided += 1
    assert sum(p <= 0.05 + 1e-12 for p in holm(p_values)) == decided


def comparison(**changes: object) -> PairComparison:
    def metric(name: str, one: float, two: float, p: float, verdict: str) -> MetricDifference:
        low, high = sorted((one - two - 0.01, one - two + 0.01))
        return MetricDifference(name, None, one, two, one - two, low, high, p, p, verdict)  # type: ignore[arg-type]

    told: dict = {
        "benchmark": "brain", "pack": "v1", "entries": ("my_net", "padim"), "seeds": (3, 1),
        "unranked": ("random weights", None), "unit": "patient", "units": 50, "left_out": (),
        "remarks": ("padim has one seed: what another would change is in no interval",),
        "sentence": "", "is_public": True,
        "metrics": (
            metric("image_auroc", 0.9, 0.8, 0.0005, "first"),
            metric("pixel_auroc", 0.8, 0.9, 0.02, "second"),
            metric("pixel_pro", 0.805, 0.8, 0.4, "undecided"),
        ),
    }  # fmt: skip
    return PairComparison(**(told | changes))


def test_the_sentence_says_who_by_how_much_and_how_sure() -> None:
    said = paper_sentence(comparison())
    assert said.count("..") == 0
    assert "my_net exceeds padim in image AUROC by 10.00 points ([9.00, 11.00], p < 0.001)" in said
    # turned round with the one that leads, its interval too
    assert "padim exceeds my_net in pixel AUROC by 10.00 points ([9.00, 11.00], p = 0.020)" in said
    assert (
        "my_net and padim cannot be told apart in PRO, 0.50 points ([-0.50, 1.50], p = 0.400)"
        in said
    )
    assert "by the jackknife over 50 patients, Holm-corrected over 3 metrics" in said
    assert "3 and 1 seeds" in said
    assert said.endswith("[unranked: my_net takes no rank (random weights)]")
    assert "Holm" not in paper_sentence(comparison(metrics=comparison().metrics[:1]))
    assert "no metric in common" in paper_sentence(comparison(metrics=()))


def test_of_a_hidden_pack_the_sentence_says_who_and_no_number() -> None:
    said = paper_sentence(comparison(is_public=False, unranked=(None, None)))
    assert "my_net exceeds padim in image AUROC; padim exceeds my_net in pixel AUROC" in said
    assert not re.search(r"\d\.\d|points", said)


def check_latex(text: str) -> list[list[str]]:
    """The cells of a table that LaTeX would take: rules in order, as many cells as columns."""
    body = [line for line in text.splitlines() if not line.startswith("%")]
    (columns,) = re.findall(r"^\\begin\{tabular\}\{(l r*)\}$".replace(" ", ""), body[0])
    assert body[1] == r"\toprule"
    assert body[3] == r"\midrule"
    assert body[-2:] == [r"\bottomrule", r"\end{tabular}"]
    rows = [line for line in body if line.endswith(r"\\")]
    assert all(re.search(r"(?<!\\)%", row) is None for row in rows)
    assert all(row.count("{") == row.count("}") for row in rows)
    assert all(len(re.findall(r"(?<!\\)\$", row)) % 2 == 0 for row in rows)
    cells = [re.split(r"(?<!\\)&", row.removesuffix(r"\\")) for row in rows]
    assert {len(row) for row in cells} == {len(columns)}
    plain = re.sub(r"\$[^$]*\$", "", " ".join(rows))  # out of formulas
    assert re.search(r"(?<!\\)[_#^~]", plain) is None
    return [[cell.strip() for cell in row] for row in cells]


def test_the_latex_table_is_one_and_the_better_mean_is_bold() -> None:
    head, image, pixel, pro = check_latex(pair_latex(comparison()))
    assert head[1:3] == [r"my\_net", "padim"]
    assert image[1:3] == [r"\textbf{90.00}", "80.00"]
    assert pixel[1:3] == ["80.00", r"\textbf{90.00}"]
    assert pro[1:3] == ["80.50", "80.00"]
    assert image[3:] == ["$+10.00$", "$[9.00, 11.00]$", "$< 0.001$"]


def test_text_that_is_a_command_elsewhere_stands_as_it_is() -> None:
    assert latex_text("50 % & a_b $x$ \\input{x}") == (
        r"50 \% \& a\_b \$x\$ \textbackslash{}input\{x\}"
    )
    assert markdown_text("a|b <i> [x](y) *z*") == r"a\|b \<i\> \[x\](y) \*z\*"


def test_a_terminal_is_told_what_is_left_out_and_what_to_know() -> None:
    told = pair_text(comparison(left_out=("dice_max",)))
    assert "dice_max: one of them does not have it" in told
    assert "note: padim has one seed" in told
    assert "my_net is better" in told
    assert "padim is better" in told
    assert "cannot be told apart" in told
