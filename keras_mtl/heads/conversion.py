"""Head for a step of a funnel, which only those reach who took the step before."""

from keras_mtl.heads.classification import BinaryClassification
from keras_mtl.heads.head import Head, output_dtype, registry
from keras_mtl.layers import MonotonePenalty, ProbabilityProduct
from keras_mtl.utils.checks import check_choice, check_non_negative


@registry.register("conversion")
class Conversion(BinaryClassification):
    """Yes or no, where "yes" needs a "yes" of another task; raw outputs are logits.

    In a funnel such as impression, click, purchase, the label of every step is
    known for every example of the first (no click: no purchase), and the steps'
    probabilities should not increase. What the head does with the logit of the task
    `after`:

    - `coupling="product"` (ESMM): the head's own logit is that of the conditional
      probability `p(purchase | click)`; the raw output is the logit of
      `p(click) p(purchase | click)`, which never exceeds `p(click)`. Since the
      product is trained on all examples, so is the conditional probability, without
      the bias of a training on clicks alone. It is the served probability divided by
      that of the task before.
    - `coupling="calibrator"` (AITM): the raw output is the head's own logit, and
      `calibrator_weight * mean(max(0, p(purchase) - p(click)))` is added to the
      loss, beside the task losses.

    Loss, metrics and export see the raw output as they see that of
    `BinaryClassification`. Chains may have any length. The layers of the task
    before belong to both tasks. It works with every architecture; the paper of ESMM
    has towers on shared embeddings (`architecture="hard"`), that of AITM
    `architecture="aitm"`.

    Args:
        after: Name of the task of the step before: a `BinaryClassification` or
            another `Conversion`.
        coupling: `"product"` or `"calibrator"`.
        calibrator_weight: Number `>= 0`, factor of the calibrator's loss.
        **kwargs: `label_names`, `threshold` of `BinaryClassification`, and
            `hidden_units`, `activation`, `dropout` of `Head`.

    Raises:
        ValueError: In `build_model`, if there is no such task, its head gives no
            logit, or the tasks wait for each other in a circle.

    Example:
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.Task("click", mtl.heads.BinaryClassification()),
    ...          mtl.Task("purchase", mtl.heads.Conversion(after="click"))]
    >>> model = mtl.build_model(mtl.backbones.MLP(input_shape=(8,)), tasks)
    >>> {task: output.shape for task, output in model.output.items()}
    {'click': (None, 1), 'purchase': (None, 1)}

    Reference:
        - [Ma et al., 2018](https://arxiv.org/abs/1804.07931), section 2.
        - [Xi et al., 2021](https://arxiv.org/abs/2105.08489), the behavioral
          expectation calibrator.
    """

    def __init__(
        self,
        after: str,
        *,
        coupling: str = "product",
        calibrator_weight: float = 0.6,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.after = after
        self.coupling = check_choice("coupling", coupling, ("product", "calibrator"))
        self.calibrator_weight = check_non_negative(
            "calibrator_weight", calibrator_weight
        )

    def check_earlier(self, head: Head) -> None:
        if not isinstance(head, BinaryClassification):
            raise ValueError(
                f"Expected the head of the task {self.after!r}, which a `Conversion` "
                "comes after, to be a `BinaryClassification` or a `Conversion`. "
                f"Received: {type(head).__name__}"
            )

    def connect(self, feature, extra_inputs, name):
        own = super().connect(feature, extra_inputs, name)
        earlier = extra_inputs[self.after]
        if self.coupling == "product":
            product = ProbabilityProduct(name=f"{name}_product", dtype=output_dtype())
            return product([earlier, own])
        penalty = MonotonePenalty(
            self.calibrator_weight, name=f"{name}_calibrator", dtype=output_dtype()
        )
        return penalty([earlier, own])

    def get_config(self):
        return {
            **super().get_config(),
            "after": self.after,
            "coupling": self.coupling,
            "calibrator_weight": self.calibrator_weight,
        }
