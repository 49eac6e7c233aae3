"""Models, batches and variants whose steps `step_time.py` compares."""

import math

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras import layers

import keras_mtl as mtl

_BATCHES = 8


def mlp() -> keras.Model:
    """Three dense layers of 512 units."""
    return mtl.backbones.MLP(input_shape=(64,), units=(512, 512, 512))


def cnn() -> keras.Model:
    """Four stages on 32×32×3: `ConvNet`, but with Keras' own batch normalisation."""
    x = image = keras.Input((32, 32, 3), name="image")
    for index, filters in enumerate((32, 64, 128, 128)):
        stage = f"stage_{index}"
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, name=f"{stage}_conv"
        )(x)
        x = layers.MaxPooling2D(2, padding="same", name=f"{stage}_pool")(x)
        x = layers.BatchNormalization(name=f"{stage}_norm")(x)
        x = layers.ReLU(name=f"{stage}_relu")(x)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(x)
    return keras.Model(image, {"map": x, "pooled": pooled}, name="convnet")


def transformer() -> keras.Model:
    """Four pre-norm blocks of width 128 over 64 tokens of a vocabulary of 1,000."""
    tokens = keras.Input((64,), dtype="int32", name="tokens")
    x = layers.Embedding(1000, 128, name="embedding")(tokens)
    for index in range(4):
        y = layers.LayerNormalization(name=f"block_{index}_norm_attention")(x)
        attention = layers.MultiHeadAttention(4, 32, name=f"block_{index}_attention")
        x = layers.Add(name=f"block_{index}_add_attention")([x, attention(y, y)])
        y = layers.LayerNormalization(name=f"block_{index}_norm_dense")(x)
        y = layers.Dense(512, activation="gelu", name=f"block_{index}_wide")(y)
        y = layers.Dense(128, name=f"block_{index}_narrow")(y)
        x = layers.Add(name=f"block_{index}_add_dense")([x, y])
    pooled = layers.GlobalAveragePooling1D(name="pooled")(x)
    return keras.Model(tokens, {"pooled": pooled}, name="transformer")


def bert() -> keras.Model:
    """The 6-layer BERT of `data.text.pretrained`, with random weights, on 64 tokens."""
    network = keras_hub.models.BertBackbone(
        vocabulary_size=30522,
        num_layers=6,
        num_heads=12,
        hidden_dim=384,
        intermediate_dim=1536,
        max_sequence_length=64,
    )
    return mtl.backbones.Text(network=network)


# Of `experts.py`: columns of the input, and units of the layers of each expert.
NUM_EXPERTS = 16
EXPERTS = {
    "experts_small": (64, (32, 16)),
    "experts": (256, (128, 64)),
    "experts_large": (512, (256, 128)),
}


# Of `missing_labels.py`: kinds of labels, and the part of them that is there.
LABELS = ("regression", "classes")
LABELLED = 0.05
_NUM_CLASSES, _NONE = 10, -1


class ExpertsInLoop(keras.layers.Layer):
    """Dense layers, one expert after the other, in place of an `ExpertBank`."""

    def __init__(self, num_experts, units, activation="relu", dropout=0.0, name=None):
        super().__init__(name=name)
        self.experts = [
            [layers.Dense(width, activation=activation) for width in units]
            for _ in range(num_experts)
        ]

    def call(self, inputs):
        found = []
        for expert in self.experts:
            x = inputs
            for layer in expert:
                x = layer(x)
            found.append(x)
        return keras.ops.stack(found, axis=-2)


class MMoEInLoop(mtl.architectures.MMoE):
    """The same architecture with its experts in a loop."""

    def _bank(self, num_experts):
        return lambda name: ExpertsInLoop(num_experts, self.units, name=name)


def dense_width(columns: int, units: tuple[int, int], num_tasks: int) -> int:
    """Width of a two-layer MLP with the multiplications of a mixture of experts."""
    first, second = units
    experts = NUM_EXPERTS * (columns * first + first * second)
    gates = num_tasks * NUM_EXPERTS * (columns + second)
    total = experts + gates + num_tasks * second
    beside = columns + num_tasks
    return round((math.sqrt(beside**2 + 4 * total) - beside) / 2)


def experts_model(case: str, variant: str, tasks: list) -> keras.Model:
    """MMoE straight on the input, or an MLP of two layers with as many FLOPs."""
    name, num_tasks = parts(case)
    columns, units = EXPERTS[name]
    if variant == "dense":
        width = dense_width(columns, units, num_tasks)
        net = mtl.backbones.MLP(input_shape=(columns,), units=(width, width))
        return mtl.build_model(net, tasks)
    net = mtl.backbones.MLP(input_shape=(columns,), units=())
    kind = MMoEInLoop if variant == "loop" else mtl.architectures.MMoE
    return mtl.build_model(net, tasks, architecture=kind(NUM_EXPERTS, units=units))


def labels_model(case: str, variant: str) -> keras.Model:
    """The MLP on tasks whose labels are all there, or mostly missing."""
    name, num_tasks = parts(case)
    labels, _, balancer = variant.partition("+")
    if name == "regression":  # NaN is no label
        head, missing = mtl.heads.Regression(), None
    else:
        head = mtl.heads.Classification(_NUM_CLASSES)
        missing = _NONE if labels == "missing" else None
    tasks = [
        mtl.Task(f"task_{index}", head, missing=missing, metrics=[])
        for index in range(num_tasks)
    ]
    model = mtl.build_model(mlp(), tasks)
    model.compile("adam", balancer=balancer or None)
    return model


def some_labels(rng, case: str, variant: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random labels of one task, of which most are missing if the variant says so."""
    if parts(case)[0] == "classes":
        labels, none = rng.integers(0, _NUM_CLASSES, shape).astype("int32"), _NONE
    else:
        labels, none = rng.standard_normal(shape).astype("float32"), np.nan
    if variant.startswith("missing"):
        labels[rng.random(shape) >= LABELLED] = none
    return labels


# How each is made, and the number of examples in a batch.
BACKBONES = {
    "mlp": (mlp, 256),
    "cnn": (cnn, 64),
    "transformer": (transformer, 32),
    "bert": (bert, 16),
}
_TOKENS = 64


class Limit(keras.Model):
    """The least that a step with task gradients can do, driven by `fit` as well.

    One forward pass, and one backward pass per task from its mean loss to all
    trainable variables; no Gram matrix, no combination, no metric. All gradients
    are there together at the end, as any method needs them that compares tasks;
    then one entry of each is added to a counter, so that TensorFlow can drop none.
    With `update`, the optimizer takes a step with the gradients of the first task
    (and of every head) besides: what no training can do without.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.update = False
        self.kept = tf.Variable(0.0, trainable=False)

    def train_step(self, data):
        x, y = data
        variables = self.trainable_variables
        values = [v.value for v in variables]
        with tf.GradientTape(persistent=True) as tape:
            outputs = self(x, training=True)
            losses = [tf.reduce_mean(tf.square(outputs[name] - y[name])) for name in y]
        per_task = [tape.gradient(loss, values) for loss in losses]
        found = [_values(g) for row in per_task for g in row if g is not None]
        with tf.control_dependencies([tf.group(found)]):
            entries = [tf.reshape(g, [-1])[0] for g in found]
        self.kept.assign_add(tf.add_n(entries))
        if self.update:
            columns = zip(*per_task, strict=True)
            first = [next(g for g in column if g is not None) for column in columns]
            self.optimizer.apply(first, variables)
        return {"loss": tf.add_n(losses)}


def _values(gradient):
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def parts(case: str) -> tuple[str, int]:
    """Backbone and number of tasks of a case such as `"mlp-8"`."""
    name, num_tasks = case.split("-")
    return name, int(num_tasks)


def compiled(case: str, variant: str) -> keras.Model:
    """The compiled model of a variant; all variants have the same layers.

    With the prefix `"fast:"`, those that can be are `keras_mtl`'s faster ones.
    """
    name, num_tasks = parts(case)
    prefix, _, variant = variant.rpartition(":")
    keras.utils.set_random_seed(0)
    if name in LABELS:
        return labels_model(case, variant)
    tasks = [
        mtl.Task(f"task_{index}", mtl.heads.Regression(1), metrics=[])
        for index in range(num_tasks)
    ]
    if name in EXPERTS:
        model = experts_model(case, variant, tasks)
        model.compile("adam")
        return model
    model = mtl.build_model(BACKBONES[name][0](), tasks)
    if prefix == "fast":
        mtl.accelerate(model)
    if variant == "stock":
        model = keras.Model(model.input, model.output)
        model.compile(
            "adam",
            loss=dict.fromkeys(model.output, "mse"),
            loss_weights=dict.fromkeys(model.output, 1.0),
            jit_compile=False,
        )
    elif variant == "plain":
        model.compile("adam")
    elif variant == "every_10":
        options = mtl.BalancingOptions(every=10)
        model.compile("adam", balancer="pcgrad", balancing=options)
    elif variant == "features":
        options = mtl.BalancingOptions(scope="features")
        model.compile("adam", balancer="mgda", balancing=options)
    elif not variant.startswith("limit"):
        model.compile("adam", balancer=variant)
    else:
        model = Limit(model.input, model.output)
        model.update = variant == "limit_update"
        model.compile("adam", loss="mse", jit_compile=False)
        model.optimizer.build(model.trainable_variables)
    return model


def batches(case: str, variant: str) -> tf.data.Dataset:
    """The same batches again and again, from memory; variants differ in labels only."""
    name, num_tasks = parts(case)
    rng = np.random.default_rng(0)
    batch = 256 if name in EXPERTS or name in LABELS else BACKBONES[name][1]
    x = _inputs(rng, name, batch)
    y = {}
    for index in range(num_tasks):
        if name in LABELS:
            shape = (_BATCHES, batch, 1)
            y[f"task_{index}"] = some_labels(rng, case, variant, shape)
        else:
            values = rng.standard_normal((_BATCHES, batch, 1))
            y[f"task_{index}"] = values.astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, y)).cache().repeat()


def _inputs(rng, name, batch):
    """Random inputs of all batches; about half of the tokens of BERT are padding."""
    shapes = {"cnn": (32, 32, 3), **{kind: (EXPERTS[kind][0],) for kind in EXPERTS}}
    if name not in ("transformer", "bert"):
        shape = (_BATCHES, batch, *shapes.get(name, (64,)))
        return rng.standard_normal(shape).astype("float32")
    tokens = rng.integers(0, 1000, (_BATCHES, batch, _TOKENS)).astype("int32")
    if name == "transformer":
        return tokens
    lengths = rng.integers(1, _TOKENS + 1, (_BATCHES, batch, 1))
    mask = (np.arange(_TOKENS) < lengths).astype("int32")
    return {
        "token_ids": tokens * mask,
        "padding_mask": mask,
        "segment_ids": np.zeros_like(mask),
    }
