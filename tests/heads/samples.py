"""One row per head: labels, and what NumPy makes of its raw outputs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import keras_mtl as mtl
from tests.heads import chains

ROWS = 40
TOKENS = 4


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def binary_crossentropy(labels, logits):
    p = sigmoid(logits)
    return -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()


def giou(a, b):
    """Algorithm 2 of Rezatofighi et al., 2019, for one pair of boxes."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    overlap = width * height
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    union = area_a + area_b - overlap
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    iou = overlap / union
    return iou, iou - (hull - union) / hull


def ordinal_loss(labels, logits):
    """Equation 4 of Cao et al., 2020, term by term, over the number of thresholds."""
    total = 0.0
    for label, row in zip(labels, logits, strict=True):
        for k, logit in enumerate(row):
            above = float(label > k)
            log_p, log_rest = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
            total -= above * log_p + (1 - above) * log_rest
    return total / logits.size


def ordinal_probabilities(logits):
    above = np.concatenate(
        [np.ones((len(logits), 1)), sigmoid(logits), np.zeros((len(logits), 1))], axis=1
    )
    return above[:, :-1] - above[:, 1:]


def pixel_crossentropy(labels, logits):
    picked = np.take_along_axis(softmax(logits), labels[..., None], axis=-1)
    return -np.log(picked).mean()


def mean_iou(labels, probabilities):
    """Over the classes that occur, pixels in common over pixels in either."""
    found = probabilities.argmax(axis=-1)
    classes = range(probabilities.shape[-1])
    common = np.array([((labels == c) & (found == c)).sum() for c in classes])
    either = np.array([((labels == c) | (found == c)).sum() for c in classes])
    return (common[either > 0] / either[either > 0]).mean()


def boxes(rng, size):
    corners = np.sort(rng.random((size, 2, 2)), axis=1)
    return corners.reshape(size, 4)


@dataclasses.dataclass(frozen=True)
class Row:
    """A head, and what is right for it.

    Attributes:
        name: Registered name.
        config: Arguments of the head, without those of every head.
        shape: Shape of the raw outputs of one example.
        labels: Function from a generator to labels of `ROWS` examples.
        activated: NumPy function of the raw outputs.
        loss: NumPy function of labels and raw outputs.
        metrics: By name, NumPy functions of labels and activated outputs.
        serving: NumPy function of the raw outputs.
        wrong: Label arrays that cannot be right, and a part of the message.
    """

    name: str
    config: dict[str, Any]
    shape: tuple[int, ...]
    labels: Callable
    activated: Callable
    loss: Callable
    metrics: dict[str, Callable]
    serving: Callable
    wrong: list[tuple[Any, str]]

    def head(self, **kwargs):
        config = {**self.config, **kwargs}
        return mtl.heads.get({"class_name": self.name, "config": config})

    def backbone(self):
        """From 4 numbers to the feature that the head takes."""
        if self.name == "contrastive_embedding":
            x = keras.Input((4,), name="features")
            sides = {
                "pooled": keras.layers.Dense(5, activation="tanh"),
                "other": keras.layers.Dense(3, activation="tanh"),
            }
            sides = {name: layer(x) for name, layer in sides.items()}
            return keras.Model(x, sides, name="mlp")
        if self.head().feature == "pooled":
            return mtl.backbones.MLP(input_shape=(4,), units=(5,), activation="tanh")
        x = keras.Input((4,), name="features")
        if self.head().feature == "sequence":
            tokens = keras.layers.Reshape((TOKENS, 1))(x)
            conv = keras.layers.Conv1D(5, 2, padding="same", activation="tanh")
            return keras.Model(x, {"sequence": conv(tokens)}, name="mlp")
        pixels = keras.layers.Reshape((2, 2, 1))(x)
        conv = keras.layers.Conv2D(5, 2, padding="same", activation="tanh")
        return keras.Model(x, {"map": conv(pixels)}, name="mlp")


BIO = ["O", "B-x", "I-x"]


def token_crossentropy(labels, logits):
    picked = np.take_along_axis(softmax(logits), labels[..., None], axis=-1)
    return -np.log(picked).mean()


def entities(tags):
    """Entities of one sequence of indices of `BIO`, read word by word."""
    found, begin = set(), None
    for place, tag in enumerate([*tags, 0]):
        if begin is not None and tag != 2:
            found.add((begin, place))
            begin = None
        if tag == 1 or (tag == 2 and begin is None):
            begin = place
    return found


def entity_f1(labels, scores):
    true = [entities(row) for row in labels.tolist()]
    found = [entities(row) for row in scores.argmax(axis=-1).tolist()]
    right = sum(len(t & f) for t, f in zip(true, found, strict=True))
    return 2 * right / (sum(map(len, true)) + sum(map(len, found)))


def spans(logits, longest):
    """Best span of every text, by trying all, and its probability."""
    p = softmax(np.swapaxes(logits, 1, 2))
    best = []
    for start, end in p:
        tokens = range(len(start))
        scores = {
            (i, j): start[i] * end[j]
            for i in tokens
            for j in tokens
            if i <= j < i + longest
        }
        pair = max(scores, key=scores.get)
        best.append((*pair, scores[pair]))
    first, last, probability = np.array(best).T
    return first.astype("int32"), last.astype("int32"), probability


def span_loss(labels, logits):
    log_p = np.log(softmax(np.swapaxes(logits, 1, 2)))
    return -np.take_along_axis(log_p, labels[..., None], axis=-1).mean()


def overlap(labels, found):
    values = []
    for (a, b), (c, d) in zip(labels.tolist(), found.tolist(), strict=True):
        true, other = set(range(a, b + 1)), set(range(int(c), int(d) + 1))
        values.append(2 * len(true & other) / (len(true) + len(other)))
    return np.mean(values)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def info_nce(labels, pairs):
    """Term by term; examples of one label are no negatives of each other."""
    total = 0.0
    for i, label in enumerate(labels):
        rows = [j for j, other in enumerate(labels) if j == i or other != label]
        to = [pairs[i, 0] @ pairs[j, 1] for j in rows]
        back = [pairs[j, 0] @ pairs[i, 1] for j in rows]
        own = pairs[i, 0] @ pairs[i, 1]
        total += (np.logaddexp.reduce(to) + np.logaddexp.reduce(back)) / 2 - own
    return total / len(labels)


def recall_at_1(labels, pairs):
    near = pairs[:, 0] @ pairs[:, 1].T
    return np.mean(labels[near.argmax(axis=1)] == labels)


NAMES = ["low", "middle", "high"]
TEXT = (np.array(["a"] * ROWS), "to be numbers")


def _auc(labels, probabilities):
    metric = keras.metrics.AUC()
    metric.update_state(labels[:, None], probabilities)
    return float(metric.result())


TABLE = [
    Row(
        name="classification",
        config={"num_classes": 3},
        shape=(3,),
        labels=lambda rng: rng.integers(0, 3, ROWS),
        activated=softmax,
        loss=lambda y, raw: -np.log(softmax(raw)[np.arange(ROWS), y]).mean(),
        metrics={"accuracy": lambda y, p: (p.argmax(axis=1) == y).mean()},
        serving=lambda raw: {
            "probabilities": softmax(raw),
            "label": raw.argmax(axis=1).astype("int32"),
        },
        wrong=[(np.zeros((ROWS, 3), int), "('batch',) or ('batch', 1)"), TEXT],
    ),
    Row(
        name="classification",
        config={"num_classes": 3, "one_hot": True, "label_names": NAMES},
        shape=(3,),
        labels=lambda rng: np.eye(3)[rng.integers(0, 3, ROWS)],
        activated=softmax,
        loss=lambda y, raw: -(y * np.log(softmax(raw))).sum(axis=1).mean(),
        metrics={
            "accuracy": lambda y, p: (p.argmax(axis=1) == y.argmax(axis=1)).mean()
        },
        serving=lambda raw: {
            "probabilities": softmax(raw),
            "label": np.array(NAMES)[raw.argmax(axis=1)],
        },
        wrong=[
            (np.zeros(ROWS), "('batch', 3)"),
            (np.zeros((ROWS, 4)), "('batch', 3)"),
            TEXT,
        ],
    ),
    Row(
        name="binary_classification",
        config={"threshold": 0.3, "label_names": ["no", "yes"]},
        shape=(1,),
        labels=lambda rng: rng.integers(0, 2, ROWS),
        activated=sigmoid,
        loss=lambda y, raw: binary_crossentropy(y, raw[:, 0]),
        metrics={"accuracy": lambda y, p: ((p[:, 0] > 0.3) == y).mean(), "auc": _auc},
        serving=lambda raw: {
            "probability": sigmoid(raw)[:, 0],
            "label": np.where(sigmoid(raw)[:, 0] >= 0.3, "yes", "no"),
        },
        wrong=[(np.zeros((ROWS, 2)), "('batch',) or ('batch', 1)"), TEXT],
    ),
    Row(
        name="multi_label_classification",
        config={"num_classes": 3, "threshold": 0.6, "label_names": NAMES},
        shape=(3,),
        labels=lambda rng: rng.integers(0, 2, (ROWS, 3)),
        activated=sigmoid,
        loss=binary_crossentropy,
        metrics={"accuracy": lambda y, p: ((p > 0.6) == y).mean()},
        serving=lambda raw: {
            "probabilities": sigmoid(raw),
            "labels": (sigmoid(raw) >= 0.6).astype("int32"),
        },
        wrong=[(np.zeros(ROWS), "('batch', 3)"), (np.zeros((ROWS, 2)), "('batch', 3)")],
    ),
    Row(
        name="regression",
        config={},
        shape=(1,),
        labels=lambda rng: rng.normal(size=ROWS),
        activated=lambda raw: raw,
        loss=lambda y, raw: np.square(raw[:, 0] - y).mean(),
        metrics={"mae": lambda y, values: np.abs(values[:, 0] - y).mean()},
        serving=lambda raw: {"value": raw[:, 0]},
        wrong=[(np.zeros((ROWS, 2)), "('batch',) or ('batch', 1)"), TEXT],
    ),
    Row(
        name="regression",
        config={"units": 2, "target_mean": [5.0, -1.0], "target_std": [10.0, 0.1]},
        shape=(2,),
        labels=lambda rng: rng.normal(size=(ROWS, 2)) * [10.0, 0.1] + [5.0, -1.0],
        activated=lambda raw: raw * [10.0, 0.1] + [5.0, -1.0],
        loss=lambda y, raw: np.square(raw - (y - [5.0, -1.0]) / [10.0, 0.1]).mean(),
        metrics={"mae": lambda y, values: np.abs(values - y).mean()},
        serving=lambda raw: {"value": raw * [10.0, 0.1] + [5.0, -1.0]},
        wrong=[(np.zeros(ROWS), "('batch', 2)"), (np.zeros((ROWS, 3)), "('batch', 2)")],
    ),
    Row(
        name="ordinal",
        config={"num_classes": 4, "label_names": ["a", "b", "c", "d"]},
        shape=(3,),
        labels=lambda rng: rng.integers(0, 4, ROWS),
        activated=ordinal_probabilities,
        loss=ordinal_loss,
        metrics={"accuracy": lambda y, p: (p.argmax(axis=1) == y).mean()},
        serving=lambda raw: {
            "probabilities": ordinal_probabilities(raw),
            "label": ordinal_probabilities(raw).argmax(axis=1).astype("int32"),
            "expected": ordinal_probabilities(raw) @ np.arange(4),
        },
        wrong=[(np.zeros((ROWS, 4), int), "('batch',) or ('batch', 1)"), TEXT],
    ),
    Row(
        name="bounding_box",
        config={"image_size": (20, 10)},
        shape=(4,),
        labels=lambda rng: boxes(rng, ROWS),
        activated=lambda raw: raw,
        loss=lambda y, raw: np.mean(
            [
                1 - giou(a, b)[1] + np.abs(a - b).mean()
                for a, b in zip(y, raw, strict=True)
            ]
        ),
        metrics={
            "iou": lambda y, raw: np.mean(
                [giou(a, b)[0] for a, b in zip(y, raw, strict=True)]
            )
        },
        serving=lambda raw: {
            "box": np.clip(raw, 0, 1),
            "pixels": np.clip(raw, 0, 1) * [20, 10, 20, 10],
        },
        wrong=[(np.zeros((ROWS, 5)), "('batch', 4)"), (np.zeros(ROWS), "('batch', 4)")],
    ),
    Row(
        name="segmentation",
        config={"num_classes": 3, "output_size": [3, 4], "label_names": NAMES},
        shape=(3, 4, 3),
        labels=lambda rng: rng.integers(0, 3, (ROWS, 3, 4)),
        activated=softmax,
        loss=pixel_crossentropy,
        metrics={"mean_iou": mean_iou},
        serving=lambda raw: {
            "probabilities": softmax(raw),
            "label": raw.argmax(axis=-1).astype("int32"),
        },
        wrong=[
            (np.zeros(ROWS, int), "('batch', 3, 4) or ('batch', 3, 4, 1)"),
            (np.zeros((ROWS, 4, 3), int), "('batch', 3, 4)"),
            (np.zeros((ROWS, 3, 4, 3)), "('batch', 3, 4)"),
        ],
    ),
    Row(
        name="regression_map",
        config={
            "output_size": [3, 4],
            "units": 2,
            "target_mean": [5.0, -1.0],
            "target_std": [10.0, 0.1],
        },
        shape=(3, 4, 2),
        labels=lambda rng: rng.normal(size=(ROWS, 3, 4, 2)) * [10.0, 0.1] + [5.0, -1.0],
        activated=lambda raw: raw * [10.0, 0.1] + [5.0, -1.0],
        loss=lambda y, raw: np.square(raw - (y - [5.0, -1.0]) / [10.0, 0.1]).mean(),
        metrics={"mae": lambda y, values: np.abs(values - y).mean()},
        serving=lambda raw: {"value": raw * [10.0, 0.1] + [5.0, -1.0]},
        wrong=[
            (np.zeros((ROWS, 3, 4)), "('batch', 3, 4, 2)"),
            (np.zeros((ROWS, 4, 3, 2)), "('batch', 3, 4, 2)"),
        ],
    ),
    Row(
        name="depth",
        config={"output_size": [3, 4], "target_mean": 4.0, "target_std": 2.0},
        shape=(3, 4, 1),
        labels=lambda rng: 1 + 4 * rng.random((ROWS, 3, 4)),
        activated=lambda raw: 4 + 2 * raw,
        loss=lambda y, raw: np.abs(raw[..., 0] - (y - 4) / 2).mean(),
        metrics={
            "mae": lambda y, depth: np.abs(depth[..., 0] - y).mean(),
            "relative_error": lambda y, depth: (np.abs(depth[..., 0] - y) / y).mean(),
        },
        serving=lambda raw: {"depth": 4 + 2 * raw[..., 0]},
        wrong=[
            (np.zeros((ROWS, 4, 3)), "('batch', 3, 4) or ('batch', 3, 4, 1)"),
            (np.zeros(ROWS), "('batch', 3, 4)"),
        ],
    ),
    Row(
        name="token_tagging",
        config={"num_classes": 3, "label_names": BIO},
        shape=(TOKENS, 3),
        labels=lambda rng: rng.integers(0, 3, (ROWS, TOKENS)),
        activated=softmax,
        loss=token_crossentropy,
        metrics={
            "accuracy": lambda y, p: (p.argmax(axis=-1) == y).mean(),
            "entity_f1": entity_f1,
        },
        serving=lambda raw: {
            "probabilities": softmax(raw),
            "label": np.array(BIO)[raw.argmax(axis=-1)],
        },
        wrong=[
            (np.zeros(ROWS, int), "('batch', 4)"),
            (np.zeros((ROWS, 5), int), "('batch', 4)"),
            (np.zeros((ROWS, TOKENS, 1), int), "('batch', 4)"),
            (np.array([["a"] * TOKENS] * ROWS), "to be numbers"),
        ],
    ),
    Row(
        name="crf_tagging",
        config={"num_classes": 3, "label_names": BIO, "bio": True, "word_mask": None},
        shape=(TOKENS + 4, 4),
        labels=lambda rng: rng.integers(0, 3, (ROWS, TOKENS)),
        activated=lambda raw: np.eye(4)[[p for p, *_ in chains.all_best(raw, BIO)]][
            ..., :3
        ],
        loss=lambda y, raw: chains.loss(y, raw),
        metrics={
            "accuracy": lambda y, p: (p.argmax(axis=-1) == y).mean(),
            "entity_f1": entity_f1,
        },
        serving=lambda raw: {
            "label": np.array([*BIO, ""])[[p for p, *_ in chains.all_best(raw, BIO)]],
            "probability": np.array([p for *_, p in chains.all_best(raw, BIO)]),
        },
        wrong=[
            (np.zeros(ROWS, int), "('batch', 4)"),
            (np.zeros((ROWS, 5), int), "('batch', 4)"),
        ],
    ),
    Row(
        name="span_extraction",
        config={"max_length": 2, "span_mask": None},
        shape=(TOKENS, 2),
        labels=lambda rng: np.sort(rng.integers(0, TOKENS, (ROWS, 2)), axis=1),
        activated=lambda raw: np.stack(spans(raw, 2)[:2], axis=-1),
        loss=span_loss,
        metrics={
            "exact_match": lambda y, found: (y == found).all(axis=1).mean(),
            "overlap_f1": overlap,
        },
        serving=lambda raw: dict(
            zip(("start", "end", "probability"), spans(raw, 2), strict=True)
        ),
        wrong=[(np.zeros(ROWS, int), "('batch', 2)"), TEXT],
    ),
    Row(
        name="contrastive_embedding",
        config={"dim": 3, "temperature": 0.5, "learn_temperature": True},
        shape=(2, 3),
        labels=lambda rng: rng.integers(0, 30, ROWS),
        activated=unit,
        loss=info_nce,
        metrics={"recall_at_1": recall_at_1},
        serving=lambda raw: {
            "embedding": unit(raw)[:, 0],
            "other_embedding": unit(raw)[:, 1],
            "similarity": (unit(raw)[:, 0] * unit(raw)[:, 1]).sum(axis=-1),
        },
        wrong=[(np.zeros((ROWS, 2), int), "('batch',) or ('batch', 1)"), TEXT],
    ),
]
IDS = [f"{row.name}-{i}" for i, row in enumerate(TABLE)]
