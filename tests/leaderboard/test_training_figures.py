"""Loss and validation metric over steps: every seed's line, the kept checkpoint, what makes no line."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from leaderboard.runs import training_lines
from leaderboard.training_figures import DASHES, FRAME, MOST_POINTS, training_figures


def trained(losses, values, *, kept=None, metric="image_auroc"):
    return {
        "steps": 10 * max(len(losses), len(values)), "stop_reason": "finished", "kept": kept,
        "most_checkpoints": 20, "model": None,
        "curve": [{"step": 10 * n, "loss": loss} for n, loss in enumerate(losses, 1)],
        "checkpoints": [
            {"step": 10 * n, "metric": metric, "value": value, "kept": True}
            for n, value in enumerate(values, 1)
        ],
    }  # fmt: skip


@pytest.fixture
def runs(make_record):
    """Records with these trainings, a seed each."""

    def made(*trainings):
        return [make_record(seed=seed, training=each) for seed, each in enumerate(trainings)]

    return made


def lines_of(figure):
    """Of each line its points in pixels, and its dashes."""
    root = ElementTree.fromstring(str(figure.svg))
    return [
        (
            [tuple(map(float, pair.split(","))) for pair in path.get("d")[1:].split("L")],
            path.get("stroke-dasharray", ""),
        )
        for path in root.iter("path")
        if re.fullmatch(r"var\(--s\d\)", path.get("stroke", ""))
    ]


def test_loss_and_metric_have_a_line_for_each_seed_told_apart_by_dashes(runs):
    one = trained([3.0, 1.0], [0.5, 0.75], kept=20)
    loss, valid = training_figures("brain", "Brain MRI", runs(one, one, one))
    for figure in (loss, valid):
        assert [dash for _, dash in lines_of(figure)] == list(DASHES[:3])
        assert "Training steps" in figure.svg
    assert "Loss, as the entry reported it" in loss.svg
    assert "Image AUROC, validation split, percent" in valid.svg


def test_a_line_goes_through_its_values_on_axes_with_numbers(runs):
    [valid] = training_figures("b", "B", runs(trained([], [0.6, 0.8, 0.7], kept=20)))
    [(points, _)] = lines_of(valid)
    heights = {
        text.text: float(text.get("y")) - 4
        for text in ElementTree.fromstring(str(valid.svg)).iter("text")
        if text.text.isdigit() and float(text.get("x")) < FRAME.left
    }
    assert [y for _, y in points] == pytest.approx(
        [heights["60"], heights["80"], heights["70"]], abs=0.2
    )
    assert points[0][0] < points[1][0] < points[2][0]


def test_the_kept_checkpoint_has_a_ring_with_its_seed(runs):
    given = runs(trained([], [0.6, 0.8], kept=10), trained([], [0.7, 0.9], kept=None))
    [valid] = training_figures("b", "B", given)
    root = ElementTree.fromstring(str(valid.svg))
    [ring] = root.iter("circle")
    first = lines_of(valid)[0][0][0]
    assert (float(ring.get("cx")), float(ring.get("cy"))) == pytest.approx(first, abs=0.11)
    inside = [
        text.text
        for text in root.iter("text")
        if float(text.get("x")) >= FRAME.left and FRAME.top <= float(text.get("y")) <= FRAME.bottom
    ]
    assert inside == ["0"]


def test_a_single_point_makes_no_line_and_its_number_is_told(runs):
    given = runs(trained([0.5], [0.9], kept=10))
    assert training_figures("b", "B", given) == ()
    [line] = training_lines(given)
    assert (line.loss, line.checks) == ("0.5", "1; Image AUROC 90.00 at step 10")


def test_what_is_undefined_is_left_out(runs):
    given = runs(trained([1.0, None, 0.5], [None, None], metric="none"))
    [loss] = training_figures("b", "B", given)
    assert [len(points) for points, _ in lines_of(loss)] == [2]


def test_losses_that_fall_by_a_large_factor_are_on_a_logarithmic_scale_and_say_so(runs):
    [loss] = training_figures("b", "B", runs(trained([1000.0, 10.0, 0.1], [])))
    assert "(log)" in loss.svg
    [(points, _)] = lines_of(loss)
    assert points[1][1] - points[0][1] == pytest.approx(points[2][1] - points[1][1], abs=0.2)
    [loss] = training_figures("b", "B", runs(trained([1000.0, 10.0, -0.1], [])))
    assert "(log)" not in loss.svg


def test_a_long_curve_is_thinned_and_keeps_both_ends(runs):
    [loss] = training_figures("b", "B", runs(trained([1 / n for n in range(1, 501)], [])))
    [(points, _)] = lines_of(loss)
    assert MOST_POINTS / 2 < len(points) <= MOST_POINTS + 1
    [whole] = training_figures("b", "B", runs(trained([1.0, 0.002], [])))
    assert points[0][1] == pytest.approx(lines_of(whole)[0][0][0][1], abs=0.2)
    assert points[-1] == pytest.approx(lines_of(whole)[0][0][-1], abs=0.2)


def test_the_name_of_a_metric_stays_text(runs):
    given = runs(trained([], [0.6, 0.8], metric="<script>alert(1)</script>"))
    [valid] = training_figures("b", "B", given)
    assert "<script" not in valid.svg
