"""Figures: what is on them, that it fits, and that matplotlib is optional."""

import itertools
import sys

import numpy as np
import pytest

from keras_mtl import plots
from keras_mtl.plots import tags
from keras_mtl.plots.curves import curves_shape
from keras_mtl.plots.figure import fit_name
from keras_mtl.plots.gates import gate_matrix

LONG = [
    "digit",
    "a very long task name that nobody should use",
    "stroke_thickness_of_the_pasted_digit",
    "$cost$",
    "_hidden",
    "surface_normals_estimation",
    "box",
    "supercalifragilisticexpialidocious",
]


def run(num_tasks, num_epochs=5, num_metrics=2):
    """Epochs, curves, names, weights and cosines of a made-up run."""
    rng = np.random.default_rng(num_tasks)
    names = LONG[:num_tasks]
    metrics = ["loss", "accuracy", "mean_absolute_error", "f1", "top_5"][:num_metrics]
    values = rng.normal(size=(num_tasks, num_metrics, 2, num_epochs))
    curves = {
        name: {
            metric: {"train": values[i, j, 0], "validation": values[i, j, 1]}
            for j, metric in enumerate(metrics)
        }
        for i, name in enumerate(names)
    }
    weights = {"loss weights": rng.normal(size=(num_epochs, num_tasks))}
    cosine = np.tanh(rng.normal(size=(num_epochs, num_tasks, num_tasks)))
    return np.arange(1, num_epochs + 1), curves, names, weights, cosine


def drawn_texts(figure):
    """The texts that can be seen on the figure."""
    from matplotlib.axis import Axis
    from matplotlib.text import Text

    figure.canvas.draw()
    # Ticks beyond the ends of an axis exist, but are not drawn.
    unseen = {
        tick.label1
        for axis in figure.findobj(Axis)
        for tick, place in zip(
            axis.get_major_ticks(), axis.get_majorticklocs(), strict=True
        )
        if not min(axis.get_view_interval()) <= place <= max(axis.get_view_interval())
    }
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text() and text not in unseen
    ]


def overlaps(figure):
    """Pairs of texts on the figure whose boxes overlap."""
    # A rotated label's box is larger than what is drawn.
    texts = [text for text in drawn_texts(figure) if text.get_rotation() == 0]
    boxes = {text: text.get_window_extent().shrunk(0.98, 0.9) for text in texts}
    return [
        (one.get_text(), other.get_text())
        for one, other in itertools.combinations(texts, 2)
        if boxes[one].overlaps(boxes[other])
    ]


def outside(figure):
    """Texts that are cut off by the edge of the figure."""
    width, height = figure.bbox.size
    return [
        text.get_text()
        for text in drawn_texts(figure)
        for box in [text.get_window_extent()]
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]


@pytest.mark.parametrize("num_tasks", [1, 2, 3, 8])
@pytest.mark.parametrize("num_epochs", [1, 40])
def test_report_is_legible(num_tasks, num_epochs):
    epochs, curves, names, weights, cosine = run(num_tasks, num_epochs)
    figure = plots.report_figure(
        epochs, curves, names, weights=weights, cosine=cosine, title="digits"
    )
    assert overlaps(figure) == []
    assert outside(figure) == []
    pixels = plots.figure_array(figure)
    assert pixels.shape[1] == 1320
    assert pixels.dtype == np.uint8
    assert pixels.std() > 5


@pytest.mark.parametrize("num_tasks", [2, 8])
def test_heatmap_is_legible(num_tasks):
    *_, names, _, cosine = run(num_tasks)
    figure = plots.cosine_heatmap(cosine[0], names)
    assert overlaps(figure) == []
    assert outside(figure) == []


def test_report_parts_are_optional():
    epochs, curves, names, weights, cosine = run(2)
    alone = plots.report_figure(epochs, curves, names)
    assert len(alone.axes) == 4
    unknown = plots.report_figure(
        epochs, curves, names, weights=weights, cosine=np.full_like(cosine, np.nan)
    )
    assert len(unknown.axes) == 5


def test_report_shows_the_last_known_cosine():
    epochs, curves, names, _, cosine = run(2)
    cosine[3:] = np.nan
    figure = plots.report_figure(epochs, curves, names, cosine=cosine)
    titles = [axes.get_title(loc="left") for axes in figure.findobj() if is_axes(axes)]
    assert "cosine similarity of task gradients, epoch 3" in titles


def is_axes(artist):
    from matplotlib.axes import Axes

    return isinstance(artist, Axes)


def test_curves_join_over_gaps():
    values = np.array([3.0, np.nan, 1.0, np.inf])
    figure = plots.task_curves([1, 2, 3, 4], {"a": {"loss": {"validation": values}}})
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [1, 3]
    assert line.get_ydata().tolist() == [3.0, 1.0]


@pytest.mark.parametrize(
    ("counts", "shape"),
    [([1], (1, 1)), ([2, 2], (2, 2)), ([5, 2, 2], (4, 3)), ([9, 1], (4, 3))],
)
def test_panels(counts, shape):
    curves = {
        f"task {i}": {f"metric {j}": {} for j in range(count)}
        for i, count in enumerate(counts)
    }
    assert curves_shape(curves) == shape


@pytest.mark.parametrize("curves", [{}, {"a": {}}])
def test_no_curves(curves):
    with pytest.raises(ValueError, match=r"at least one metric.*Received: curves="):
        plots.task_curves([1], curves)


@pytest.mark.parametrize("weights", [{}, {"w": np.ones((2, 3))}])
def test_weights_must_fit(weights):
    with pytest.raises(ValueError, match=r"Expected `weights.*Received: "):
        plots.weight_curves([1, 2], weights, ["a", "b"])


@pytest.mark.parametrize("shape", [(2, 3), (3, 3), (2,)])
def test_cosine_must_fit(shape):
    with pytest.raises(ValueError, match=r"Expected `cosine`.*Received: shape="):
        plots.cosine_heatmap(np.zeros(shape), ["a", "b"])


def test_heatmap_numbers():
    cosine = [[1.0, -0.004, np.nan], [-0.004, 1.0, -1.0], [np.nan, -1.0, 1.0]]
    figure = plots.cosine_heatmap(cosine, ["a", "b", "c"])
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert cells == ["1.00", "0.00", "–", "0.00", "1.00", "-1.00", "–", "-1.00", "1.00"]


def test_cosine_array():
    colours = plots.cosine_array([[1.0, 0.0], [np.nan, -1.0]], cell=2)
    assert colours.shape == (4, 4, 3)
    assert colours.dtype == np.uint8
    assert colours[::2, ::2].tolist() == [
        [[33, 102, 172], [247, 247, 247]],
        [[200, 200, 200], [178, 24, 43]],
    ]


GATES = {
    "income_pooled_0": {"income/0": 0.25, "shared/0": 0.75},
    "marital_pooled_0": {"marital/0": 1.0, "shared/0": 0.0},
}


def test_gate_matrix():
    matrix, experts = gate_matrix(GATES)
    assert experts == ["income/0", "shared/0", "marital/0"]
    expected = [[0.25, 0.75, np.nan], [np.nan, 0.0, 1.0]]
    np.testing.assert_array_equal(matrix, expected)


def test_gate_numbers():
    axes = plots.gate_heatmap(GATES).axes[0]
    assert [text.get_text() for text in axes.texts] == [".25", ".75", ".00", "1.00"]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["income_pooled_0", "marital_pooled_0"]


@pytest.mark.parametrize(("gates", "experts"), [(1, 2), (2, 16), (5, 12)])
def test_gates_are_legible(gates, experts):
    weights = {
        f"a_rather_long_task_{gate}_pooled": {
            f"pooled_experts_0/{expert}": 1 / experts for expert in range(experts)
        }
        for gate in range(gates)
    }
    figure = plots.gate_heatmap(weights, title="mean gate weights\nunused: a, b")
    assert overlaps(figure) == []
    assert outside(figure) == []


def test_gate_names_end_with_their_numbers():
    task = "a_very_long_task_name"
    weights = {f"{task}_pooled_0": {f"{task}_pooled_experts_0/7": 1.0}}
    axes = plots.gate_heatmap(weights).axes[0]
    (column,), (row,) = axes.get_xticklabels(), axes.get_yticklabels()
    assert column.get_text() == "…ng_task_name_pooled_0/7"
    assert row.get_text() == "…long_task_name_pooled_0"


def test_gate_array():
    colours = plots.gate_array(GATES, cell=2)
    assert colours.shape == (4, 6, 3)
    assert colours.dtype == np.uint8
    assert colours[2, ::2].tolist() == [
        [200, 200, 200],
        [247, 247, 247],
        [33, 102, 172],
    ]


def test_no_gates():
    with pytest.raises(ValueError, match="at least one gate"):
        plots.gate_heatmap({})


def test_figures_leave_pyplot_alone():
    epochs, curves, names, weights, cosine = run(2)
    plots.report_figure(epochs, curves, names, weights=weights, cosine=cosine)
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_save_png(tmp_path):
    epochs, curves, *_ = run(1)
    figure = plots.task_curves(epochs, curves, title="one")
    plots.save_png(figure, tmp_path / "new" / "figure.png")
    content = (tmp_path / "new" / "figure.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    assert len(content) > 5000


def test_without_matplotlib(monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "keras-mtl\[plots\]"'):
        plots.cosine_heatmap([[1.0]], ["a"])
    assert plots.cosine_image([[1.0]], ["a"]).shape == (48, 48, 3)
    assert plots.gate_image(GATES).shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digit", "digit"),
        ("stroke_thickness", "stroke_thickness"),
        ("stroke_thickness_mm", "stroke_\nthickness_mm"),
        ("a task with five words", "a task with five\nwords"),
        ("supercalifragilistic", "supercalifragili\nstic"),
        ("one_two_three_four_five_six_seven", "one_two_three_\nfour_five_six_…"),
        ("$x$", r"\$x\$"),
    ],
)
def test_fit_name(name, expected):
    assert fit_name(name) == expected


@pytest.mark.parametrize("tag", ["epoch_loss", "loss", "balancing/x", "batch_a/loss"])
def test_other_tags_are_no_task_tags(tag):
    assert tags.split_task_tag(tag) is None


def test_sharing_needs_three_parts_per_task():
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        plots.sharing_figure({"parameters": [[1, 2, 3]]}, ["a", "b"])


def pictures(captions):
    """An image, a class map and two maps of values; one row for each."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 8, 3), dtype="uint8")
    classes = rng.integers(0, 7, (8, 8))
    values = rng.normal(size=(8, 8)).astype("float32")
    return [
        dict(zip(captions, [image, classes, classes], strict=True)),
        dict(zip(captions, [None, values, values + 3], strict=True)),
    ]


def test_maps_are_legible():
    rows = pictures(["image", LONG[1], LONG[3]])
    figure = plots.map_rows(rows, label_names=LONG[:7], unit="metres", title="$1")
    assert overlaps(figure) == []
    assert outside(figure) == []
    shown = {text.get_text() for text in drawn_texts(figure)}
    assert {"image", "metres", *(fit_name(name, lines=1) for name in LONG[:7])} <= shown


def test_maps_show_what_they_are_given():
    rows = pictures(["a", "b", "c"])
    rows[1]["b"][0, 0] = np.nan
    figure = plots.map_rows(rows)
    image, classes, _, values, higher = (
        axes.get_images()[0]
        for axes in figure.axes
        if axes.get_images() and axes.get_title()
    )
    np.testing.assert_array_equal(image.get_array(), rows[0]["a"])
    found = {tuple(colour) for colour in classes.get_array().reshape(-1, 3)}
    assert len(found) == len(np.unique(rows[0]["b"]))
    # One scale for the row, so that equal colours are equal values.
    assert values.get_clim() == higher.get_clim()
    assert values.get_clim()[0] == np.nanmin(rows[1]["b"])
    assert values.get_clim()[1] == rows[1]["c"].max()
    assert values.get_array().mask.sum() == 1


def test_rows_of_maps_may_differ_in_length():
    rows = pictures(["a", "b", "c"])
    del rows[0]["c"]
    assert outside(plots.map_rows(rows)) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "a picture at least"),
        ([{}], "a picture at least"),
        ([{"flat": np.zeros(4)}], "shape .4,. for 'flat'"),
        ([{"deep": np.zeros((4, 4, 2))}], "for 'deep'"),
    ],
)
def test_what_is_no_map(rows, message):
    with pytest.raises(ValueError, match=message):
        plots.map_rows(rows)
