"""The names under which a run's values stand in its TensorBoard files.

The callback writes them and the report reads them. TensorBoard groups by what
comes before the first slash, so every task is a group, and balancing is one.
"""

TRAIN, VALIDATION = "train", "validation"
SPLITS = (TRAIN, VALIDATION)

BALANCING = "balancing"
# Kind of value, and where `model.balancing_state` has it.
PER_TASK = {
    "loss_weight": "loss_weights",
    "task_weight": "task_weights",
    "gradient_norm": "gradient_norms",
    "nonfinite": "nonfinite",
}
CONFLICT_RATE = f"{BALANCING}/conflict_rate"
COSINE = f"{BALANCING}/cosine"
GATES = "gates"
GATE_WEIGHTS = f"{GATES}/weights"
UNUSED_EXPERTS = f"{GATES}/unused_experts"

_TASK = "task_"


def task_tag(task: str, metric: str) -> str:
    """Tag of one task's loss (`metric="loss"`) or metric."""
    return f"{_TASK}{task}/{metric}"


def split_task_tag(tag: str) -> tuple[str, str] | None:
    """Task and metric of a tag made by `task_tag`, or None for another tag.

    Example:
    >>> split_task_tag(task_tag("digit", "accuracy"))
    ('digit', 'accuracy')
    """
    task, slash, metric = tag.partition("/")
    if not slash or not task.startswith(_TASK):
        return None
    return task.removeprefix(_TASK), metric


def balancing_tag(kind: str, task: str) -> str:
    """Tag of one of the `PER_TASK` values that balancing has for a task."""
    return f"{BALANCING}/{kind}/{task}"


def cosine_tag(first: str, second: str) -> str:
    """Tag of the cosine similarity of two tasks' gradients."""
    return f"{COSINE}/{first}~{second}"


def gate_tag(gate: str, expert: str) -> str:
    """Tag of the mean weight that a gate gives an expert."""
    return f"{GATES}/{gate}/{expert}"
