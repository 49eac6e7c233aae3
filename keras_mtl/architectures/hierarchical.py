"""Hierarchical sharing: a tree of towers, low layers for all and high ones for some."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.exchange import check_several, one_backbone
from keras_mtl.architectures.tower import Tower, stages_of

INPUT = "input"


@registry.register("hierarchical")
class HierarchicalSharing(Architecture):
    """All tasks share the low layers; groups of tasks, then tasks, part higher up.

    Drawing: a tree. The backbone's own layers are the trunk, which all tasks share.
    After a stage named in `branches` the tasks part into groups: each group goes on
    with layers of its own, a copy of the backbone's from there on, and may part again
    after a later stage. What a group runs, all of its tasks share.

    Args:
        branches: Dict from the name of a layer to the groups into which the tasks
            part after it, lists of task names that hold every task once. A later
            stage may only divide the groups of an earlier one. The name `"input"`
            stands for the inputs: those groups share nothing. By default every task
            parts from all others after the middle one of the backbone's stages.

    Raises:
        ValueError: For groups that hold a task twice. When the model is built: for
            one task only, several backbones, layers that do not exist, tasks that are
            missing or unknown, or groups that come together again.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in "abc"]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 8, 4))
    >>> tree = {"dense_0": [["a", "b"], ["c"]], "dense_1": [["a"], ["b"], ["c"]]}
    >>> model = mtl.build_model(net, tasks, architecture=HierarchicalSharing(
    ...     branches=tree))
    >>> sorted(layer.name for layer in model.layers if "dense" in layer.name)
    ['dense_0', 'dense_1_a-b', 'dense_1_c', 'dense_2_a', 'dense_2_b', 'dense_2_c']

    Reference:
        - [Søgaard & Goldberg, 2016](https://aclanthology.org/P16-2038), low tasks at
          low layers
        - [Lu et al., 2017](https://arxiv.org/abs/1611.05377), trees of tasks
    """

    def __init__(
        self, *, branches: Mapping[str, Sequence[Sequence[str]]] | None = None
    ):
        if branches is not None:
            branches = {stage: _groups(stage, g) for stage, g in branches.items()}
        self.branches = branches

    def connect(self, inputs, backbones, tasks):
        check_several(self, tasks)
        backbone = one_backbone(self, backbones)
        names = [task.name for task in tasks]
        trunk = Tower(backbone, inputs[names[0]], suffix=None)
        towers = {tuple(names): trunk}
        for stage, groups in self._tree(backbone, names).items():
            twigs = {}
            for whole, tower in towers.items():
                parts = [group for group in groups if set(group) <= set(whole)]
                if stage != INPUT:
                    tower.advance(stage)
                for part in parts:
                    same = len(parts) == 1
                    twigs[part] = tower if same else tower.branch("-".join(part))
            towers = twigs
        features: dict[str, Any] = {}
        for group, tower in towers.items():
            features |= dict.fromkeys(group, tower.features())
        return {name: features[name] for name in names}

    def _tree(self, backbone, names):
        """The groups after every stage, from low to high, as tuples of task names."""
        if self.branches is None:
            stages = stages_of(backbone, None, "branches")
            return {stages[(len(stages) - 1) // 2]: [(name,) for name in names]}
        inner = [stage for stage in self.branches if stage != INPUT]
        order = [INPUT] if INPUT in self.branches else []
        order += stages_of(backbone, inner, "branches") if inner else ()
        before: list[tuple] = [tuple(names)]
        tree = {}
        for stage in order:
            groups = [tuple(group) for group in self.branches[stage]]
            _check_division(stage, groups, before, names)
            tree[stage] = before = groups
        return tree

    def get_config(self):
        return {"branches": self.branches}


def _groups(stage: str, groups: Any) -> list[list[str]]:
    """The groups as lists of names, each of which occurs once."""
    lists = isinstance(groups, list | tuple) and all(
        isinstance(group, list | tuple) and group for group in groups
    )
    listed = [name for group in groups for name in group] if lists else []
    if not listed or len(set(listed)) < len(listed):
        raise ValueError(
            "Expected `branches` to be a dict from the name of a layer to lists of "
            f"task names, each task in one list. Received: {groups!r} for {stage!r}"
        )
    return [list(group) for group in groups]


def _check_division(stage, groups, before, names):
    listed = [name for group in groups for name in group]
    unknown = sorted(set(listed) - set(names))
    missing = sorted(set(names) - set(listed))
    if unknown or missing:
        raise ValueError(
            f"Expected the groups of `branches` to hold every task of {names} once. "
            f"Received: {[list(g) for g in groups]} for {stage!r}, where "
            f"{unknown or missing} are {'unknown' if unknown else 'missing'}"
        )
    for group in groups:
        if not any(set(group) <= set(whole) for whole in before):
            raise ValueError(
                "Expected a later stage of `branches` to divide the groups of the one "
                f"before, {[list(g) for g in before]}. Received: the group "
                f"{list(group)} after {stage!r}, whose tasks have parted already"
            )
