"""Tables of results, to the letter."""

import numpy as np
import pytest

from keras_mtl import plots

RESULTS = {
    "single task": {
        "digit": {"accuracy": [0.9, 0.92, 0.94]},
        "box": {"mean_iou": [0.7]},
    },
    "multi-task": {
        "box": {"mean_iou": 0.75},
        "digit": {"accuracy": np.array([0.95, 0.95]), "loss": 12.0},
    },
}


def test_text():
    assert plots.text_table(plots.comparison_table(RESULTS)).splitlines() == [
        "task   metric      single task     multi-task",
        "---------------------------------------------",
        "digit  accuracy  0.920 ± 0.020  0.950 ± 0.000",
        "digit  loss                  –         12.000",
        "box    mean_iou          0.700          0.750",
    ]


def test_markdown():
    table = plots.comparison_table(RESULTS, digits=1)
    assert plots.markdown_table(table).splitlines() == [
        "| task | metric | single task | multi-task |",
        "| :--- | :--- | ---: | ---: |",
        "| digit | accuracy | 0.9 ± 0.0 | 0.9 ± 0.0 |",
        "| digit | loss | – | 12.0 |",
        "| box | mean_iou | 0.7 | 0.8 |",
    ]


def test_markdown_keeps_bars_inside_cells():
    table = plots.Table(("task",), (("a|b",),), num_labels=1)
    assert plots.markdown_table(table).splitlines()[-1] == r"| a\|b |"


def test_figure_fits_its_text():
    from matplotlib.text import Text

    table = plots.comparison_table(
        {"a model with a rather long name": {"task " * 6: {"mean_iou": [0.1, 0.2]}}}
    )
    figure = plots.table_figure(table, title="on the test split")
    figure.canvas.draw()
    boxes = [t.get_window_extent() for t in figure.findobj(Text) if t.get_text()]
    assert len(boxes) == 7
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
    assert plots.figure_array(figure).std() > 5


@pytest.mark.parametrize("results", [{}, {"model": {}}, {"model": {"task": {}}}])
def test_nothing_to_compare(results):
    with pytest.raises(ValueError, match=r"at least one metric.*Received: results="):
        plots.comparison_table(results)


def test_ragged_rows():
    with pytest.raises(ValueError, match=r"Expected `rows` of 2 cells.*Received: row="):
        plots.Table(("task", "loss"), (("a",),))
