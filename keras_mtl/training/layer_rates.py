"""Learning rates that fall from the end of a backbone to its beginning."""

import keras

from keras_mtl.architectures.tower import outputs_by_layer
from keras_mtl.training.graph import upstream
from keras_mtl.utils.checks import check_positive


def layerwise_rates(
    backbone: keras.Model, decay: float = 0.9, *, top: float = 1.0
) -> dict[str, float]:
    """Multipliers of the learning rate that fall by a factor from stage to stage.

    A layer gets `top * decay ** n`, where `n` is the number of stages that come after
    it: the last stage `top`, that before it `top * decay`, the embeddings of a text
    backbone the least.

    Args:
        backbone: A backbone that names its `stages`.
        decay: The factor, `> 0`; 1 gives all layers the same.
        top: Multiplier of the last stage and of what comes after it; heads have 1.

    Returns:
        Dict from the name of every layer with trainable variables to its multiplier,
        for `compile(learning_rate_multipliers=…)`; more entries may be added.

    Raises:
        ValueError: If the backbone names no stages, or a number is not positive.

    Example:
    >>> import keras_mtl as mtl
    >>> net = mtl.backbones.MLP(input_shape=(8,), units=(16, 16, 4))
    >>> mtl.layerwise_rates(net, 0.5)
    {'dense_0': 0.25, 'dense_1': 0.5, 'dense_2': 1.0}

    Reference:
        - [Howard & Ruder, 2018](https://arxiv.org/abs/1801.06146), section 3.2,
          discriminative fine-tuning.
    """
    check_positive("decay", decay)
    check_positive("top", top)
    stages = getattr(backbone, "stages", ())
    if not stages:
        raise ValueError(
            "Expected `backbone` to name its `stages`, as those of "
            f"`keras_mtl.backbones` do. Received: backbone={backbone!r}"
        )
    outputs = outputs_by_layer(backbone)
    before = {
        stage: {id(layer) for layer in upstream(outputs[stage][0])[0]}
        for stage in stages
    }
    rates = {}
    for layer in backbone.layers:
        if layer.trainable_variables:
            later = [s for s in stages if s != layer.name and id(layer) in before[s]]
            rates[layer.name] = float(top * decay ** len(later))
    return rates
