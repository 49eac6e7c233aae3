"""Entries of Keras' logs, sorted by task."""

from collections.abc import Mapping, Sequence

NO_TASK = "(all)"


def by_task(
    logs: Mapping[str, float], task_names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Logs of `evaluate` as `{task: {metric: value}}`; what is no task's comes last.

    Example:
    >>> by_task({"loss": 3.0, "box_loss": 2.0, "box_iou": 0.8}, ["box"])
    {'box': {'loss': 2.0, 'iou': 0.8}, '(all)': {'loss': 3.0}}
    """
    values: dict[str, dict[str, float]] = {name: {} for name in task_names}
    for key, value in logs.items():
        # `a_b_loss` belongs to the task `a_b` if there is one, else to `a`.
        owners = [name for name in task_names if key.startswith(f"{name}_")]
        task = max(owners, key=len) if owners else NO_TASK
        metric = key.removeprefix(f"{task}_")
        values.setdefault(task, {})[metric] = float(value)
    return values
