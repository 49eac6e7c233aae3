"""Tables of results, as text for a terminal, as Markdown, and as a figure."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_mtl.plots import figure as figures

MISSING = "–"


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of strings.

    Args:
        header: The titles of the columns.
        rows: The rows, each with one string per column.
        num_labels: How many of the first columns are labels, aligned to the left;
            the others hold numbers, aligned to the right.

    Raises:
        ValueError: If a row has another length than the header.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_labels: int = 2

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(
                    f"Expected `rows` of {len(self.header)} cells, as in the header. "
                    f"Received: row={row!r}"
                )


def comparison_table(
    results: Mapping[str, Mapping[str, Mapping[str, Any]]], *, digits: int = 3
) -> Table:
    """Compares models: a row per task and metric, a column per model.

    Args:
        results: `{model: {task: {metric: value}}}`. A value is a number, or a
            sequence of numbers, one per seed, which becomes mean ± sample standard
            deviation. What a model does not have is shown as a dash.
        digits: Digits after the decimal point.

    Returns:
        A `Table`, for `text_table`, `markdown_table` and `table_figure`.

    Raises:
        ValueError: If there is no model or no metric.

    Example:
    >>> table = comparison_table({
    ...     "single task": {"digit": {"accuracy": [0.90, 0.92]}},
    ...     "multi-task": {"digit": {"accuracy": 0.93}},
    ... })
    >>> print(text_table(table))
    task   metric      single task  multi-task
    ------------------------------------------
    digit  accuracy  0.910 ± 0.014       0.930
    """
    keys = []
    for tasks in results.values():
        for task, metrics in tasks.items():
            keys += [(task, m) for m in metrics if (task, m) not in keys]
    if not keys:
        raise ValueError(
            "Expected `results` to hold at least one metric of one task of one model. "
            f"Received: results={dict(results)!r}"
        )
    order = list(dict.fromkeys(task for task, _ in keys))
    keys.sort(key=lambda key: order.index(key[0]))
    rows = [
        (
            task,
            metric,
            *(_cell(r.get(task, {}).get(metric), digits) for r in results.values()),
        )
        for task, metric in keys
    ]
    return Table(("task", "metric", *results), tuple(rows))


def text_table(table: Table) -> str:
    """The table for a terminal: columns padded with spaces."""
    widths = _widths(table)
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    header, *rows = [
        _line(row, widths, table.num_labels) for row in (table.header, *table.rows)
    ]
    return "\n".join([header, rule, *rows])


def markdown_table(table: Table) -> str:
    """The table in Markdown.

    Example:
    >>> print(markdown_table(Table(("task", "IoU"), (("box", "0.81"),), 1)))
    | task | IoU |
    | :--- | ---: |
    | box | 0.81 |
    """
    marks = [
        ":---" if column < table.num_labels else "---:"
        for column in range(len(table.header))
    ]
    header, *rows = [
        [cell.replace("|", r"\|") for cell in row]
        for row in (table.header, *table.rows)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, marks, *rows))


def table_figure(table: Table, *, title: str | None = None) -> Any:
    """Draws the table.

    Args:
        table: The table.
        title: Optional title above it.

    Returns:
        A `matplotlib.figure.Figure` that is just large enough.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    widths = [0.09 * width + 0.3 for width in _widths(table)]
    row_height, margin = 0.3, 0.2
    top = 0.45 if title else margin
    width = sum(widths) + 2 * margin
    height = row_height * (len(table.rows) + 1) + top + margin
    figure = figures.new_figure(max(width, 0.11 * len(title or "")), height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, figure.get_figwidth()), ylim=(height, 0))
    if title:
        axes.text(margin, 0.25, title.replace("$", r"\$"), fontsize=11, va="center")
    for index, row in enumerate((table.header, *table.rows)):
        y = top + row_height * (index + 0.5)
        if index and index % 2 == 0:
            axes.axhspan(y - row_height / 2, y + row_height / 2, color="#f3f5f7", lw=0)
        _draw_row(axes, row, y, margin, widths, table.num_labels, bold=index == 0)
    line = top + row_height
    axes.plot([margin, width - margin], [line, line], color="#444444", linewidth=1)
    return figure


def _draw_row(axes, row, y, left, widths, num_labels, bold):
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        label = column < num_labels
        axes.text(
            left + 0.1 if label else left + width - 0.1,
            y,
            cell.replace("$", r"\$"),
            ha="left" if label else "right",
            va="center",
            fontsize=9.5,
            fontweight="bold" if bold else "normal",
        )
        left += width


def _cell(value: Any, digits: int) -> str:
    if value is None:
        return MISSING
    values = np.atleast_1d(np.asarray(value, dtype="float64"))
    text = f"{values.mean():.{digits}f}"
    if values.size > 1:
        text += f" ± {values.std(ddof=1):.{digits}f}"
    return text


def _widths(table: Table) -> list[int]:
    columns = zip(table.header, *table.rows, strict=True)
    return [max(map(len, column)) for column in columns]


def _line(row: tuple[str, ...], widths: list[int], num_labels: int) -> str:
    cells = [
        cell.ljust(width) if column < num_labels else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
