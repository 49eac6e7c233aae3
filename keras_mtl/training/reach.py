"""Which task reaches which variable, and so what they share."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Reach:
    """Which task reaches which trainable variable.

    Attributes:
        variables: Variables that some task reaches, in the model's order.
        shared: Those that several tasks reach.
        own: Per task, those that no other task reaches.
        reached_shared: Per task, positions in `shared` of those that it reaches.
        groups: Positions in `shared` of the variables that are balanced together.
    """

    variables: list
    shared: list
    own: list[list]
    reached_shared: list[list[int]]
    groups: list[list[int]]

    @property
    def shapes(self) -> list[int]:
        """Number of entries of every shared variable."""
        return [variable.shape.num_elements() for variable in self.shared]

    @property
    def reaching(self) -> np.ndarray:
        """Whether a task reaches a group, of shape `(num_groups, num_tasks)`."""
        tasks = [set(positions) for positions in self.reached_shared]
        return np.array([[bool(t & set(g)) for t in tasks] for g in self.groups])

    def tasks_of(self, variables: list) -> list[tuple[int, ...]]:
        """Per variable, the positions of the tasks that reach it."""
        reached = [
            {id(v) for v in (*own, *(self.shared[i] for i in positions))}
            for own, positions in zip(self.own, self.reached_shared, strict=True)
        ]
        return [
            tuple(task for task, group in enumerate(reached) if id(v) in group)
            for v in variables
        ]

    @classmethod
    def of(cls, variables_by_task: dict[str, list], variables: list) -> "Reach":
        """Reach from the variables that each task's output depends on."""
        reached = [{id(v) for v in group} for group in variables_by_task.values()]
        count = {id(v): sum(id(v) in group for group in reached) for v in variables}
        shared = [v for v in variables if count[id(v)] > 1]
        return cls(
            variables=[v for v in variables if count[id(v)] > 0],
            shared=shared,
            own=[
                [v for v in variables if count[id(v)] == 1 and id(v) in group]
                for group in reached
            ],
            reached_shared=[
                [i for i, v in enumerate(shared) if id(v) in group] for group in reached
            ],
            groups=[list(range(len(shared)))],
        )
