"""What has to happen at the borders of epochs."""

import keras
import numpy as np


class BetweenEpochs(keras.callbacks.Callback):
    """Tells weighting and balancer of an epoch's start and end; `fit` adds it.

    Raises:
        ValueError: After an epoch in which nothing could be trained.
    """

    _has_balanced = False

    def on_epoch_begin(self, epoch, logs=None):
        self._first_step = self.model._step.state.start_epoch()

    def on_epoch_end(self, epoch, logs=None):
        self.model.end_epoch(logs)
        losses = [v for k, v in (logs or {}).items() if k in self._loss_names()]
        if losses and np.all(np.isnan(losses)):
            raise ValueError(
                "Expected a label for at least one task. In this epoch no example "
                "had any, or no loss was finite. Received: tasks "
                f"{list(self.model.task_names)}, left out because they were not finite "
                f"in {self.model.balancing_state['nonfinite'].tolist()} steps, with "
                f"the priorities {list(self.model.task_priorities.values())}. Check "
                "the keys of `y`, `Task.missing`, the masks, and what is switched off"
            )
        self._check_balanced()

    def _check_balanced(self):
        """An error if, so far, no batch had two halves with labels."""
        step = self.model._step
        if self._has_balanced or getattr(step.balancer, "batch_parts", 1) == 1:
            return
        state = self.model.balancing_state
        self._has_balanced = bool(np.isfinite(state["gradient_norms"]).any())
        due = step.options.next_balancing(self._first_step) < state["step"]
        if due and not self._has_balanced:
            raise ValueError(
                "Expected batches in whose two halves (the even and the odd rows) a "
                f"task has labels, which balancer={type(step.balancer).__name__} "
                "needs. In this epoch no task had them, and the shared variables were "
                "not trained. Received: tasks "
                f"{list(self.model.task_names)}. Take larger batches"
            )

    def _loss_names(self):
        return {f"{name}_loss" for name in self.model.task_names}
