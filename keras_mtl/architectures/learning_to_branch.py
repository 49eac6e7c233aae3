"""Learning to branch: which layers tasks share is sampled, and learned."""

from collections.abc import Sequence

import keras

from keras_mtl.architectures.architecture import Architecture, registry
from keras_mtl.architectures.exchange import (
    check_several,
    check_stages,
    one_backbone,
)
from keras_mtl.architectures.hierarchical import INPUT
from keras_mtl.architectures.tower import Tower, stages_of
from keras_mtl.layers import BranchChoice
from keras_mtl.utils.checks import check_count, check_positive


@registry.register("learning_to_branch")
class LearningToBranch(Architecture):
    """Several towers, whose parts choose their parents; training finds a tree.

    Drawing: there are several copies of the backbone, all cut at the same stages. A
    part between two stages is a node. It takes the output of one node of the stage
    before, its parent, and each task takes that of one node of the last stage. In
    training the parents are drawn at random, from probabilities that are learned;
    otherwise every node takes the likeliest one. What has no child is then of no use,
    and what remains is a tree. `branches` reads it, in the form that
    `HierarchicalSharing` takes: to train that from the start is the second half of
    the method, and it is smaller and faster.

    The nodes and their choices can reach every task and are shared; the choices of
    the last stage, and layers after it, are the task's own. So are layers of a
    feature that is not made from the last stage. A draw holds for a whole batch.

    Args:
        stages: Names of the layers after which nodes end. Defaults to the stages
            that the backbone names.
        num_nodes: Number of nodes of a stage. Defaults to the number of tasks, with
            which no two need to share anything.
        temperature: Number above zero, of the softmax that relaxes a draw. The higher
            it is, the more equal are the shares of all parents.
        final_temperature: Number above zero that it falls to geometrically.
        steps: Number of training steps in which it does.

    Raises:
        ValueError: For arguments out of range. When the model is built: for one
            task only, several backbones, or stages that do not exist.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task(name, mtl.heads.Regression()) for name in "ab"]
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 4))
    >>> model = mtl.build_model(net, tasks, architecture="learning_to_branch")
    >>> model.get_layer("b_dense_1_parent").logits.assign([0.0, 1.0])
    <...>
    >>> model.architecture.branches(model)
    {'dense_0': [['a'], ['b']]}

    Reference:
        - [Guo et al., 2020](https://arxiv.org/abs/2006.01895)
    """

    def __init__(
        self,
        *,
        stages: Sequence[str] | None = None,
        num_nodes: int | None = None,
        temperature: float = 5.0,
        final_temperature: float = 0.5,
        steps: int = 10_000,
    ):
        self.stages = check_stages(stages)
        if num_nodes is not None:
            check_count("num_nodes", num_nodes)
        self.num_nodes = num_nodes
        self.temperature = check_positive("temperature", temperature)
        self.final_temperature = check_positive("final_temperature", final_temperature)
        self.steps = check_count("steps", steps)

    def connect(self, inputs, backbones, tasks):
        check_several(self, tasks)
        backbone = one_backbone(self, backbones)
        *inner, last = stages_of(backbone, self.stages)
        nodes = {
            name: Tower(backbone, inputs[tasks[0].name], name)
            for name in map(_node, range(self.num_nodes or len(tasks)))
        }
        for stage in inner:
            tensors = [node.advance(stage) for node in nodes.values()]
            for name, node in nodes.items():
                node.put(stage, self._choice(name, stage)(tensors))
        tensors = [node.advance(last) for node in nodes.values()]
        features = {}
        for task in tasks:
            own = Tower(backbone, inputs[task.name], task.name)
            own.put(last, self._choice(task.name, last)(tensors))
            features[task.name] = own.features()
        return features

    def _choice(self, name, stage):
        return BranchChoice(
            self.temperature,
            self.final_temperature,
            self.steps,
            name=f"{name}_{stage}_parent",
        )

    def branches(self, model: keras.Model) -> dict[str, list[list[str]]]:
        """The tree that a model has learned.

        Args:
            model: `MultiTaskModel` with this architecture.

        Returns:
            Dict from the name of a stage to the groups into which the tasks part
            after it (at the inputs: `"input"`), for `HierarchicalSharing`. Stages
            after which nobody parts are left out; after the last one all do.
        """
        chosen = {
            layer.name: layer.chosen()
            for layer in model.layers
            if isinstance(layer, BranchChoice)
        }
        tasks = model.task_names
        inner = [
            name.removeprefix(f"{_node(0)}_").removesuffix("_parent")
            for name in chosen
            if name.startswith(f"{_node(0)}_")
        ]
        ends = (n.removeprefix(tasks[0]).removesuffix("_parent") for n in chosen)
        last = next(e for e in ends if all(f"{t}{e}_parent" in chosen for t in tasks))
        groups: list[dict] = [{} for _ in (INPUT, *inner)]
        for task in tasks:
            node = chosen[f"{task}{last}_parent"]
            groups[-1].setdefault(node, []).append(task)
            for depth in reversed(range(len(inner))):
                node = chosen[f"{_node(node)}_{inner[depth]}_parent"]
                groups[depth].setdefault(node, []).append(task)
        parts = [[*group.values()] for group in groups] + [[[task] for task in tasks]]
        stages = [INPUT, *inner, last.removeprefix("_")]
        sizes = [1, *map(len, parts)]
        return {
            stage: parts[depth]
            for depth, stage in enumerate(stages)
            if sizes[depth + 1] > sizes[depth]
        }

    def get_config(self):
        return {
            "stages": self.stages,
            "num_nodes": self.num_nodes,
            "temperature": self.temperature,
            "final_temperature": self.final_temperature,
            "steps": self.steps,
        }


def _node(index):
    return f"node_{index}"
