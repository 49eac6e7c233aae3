"""Commands to a smart home: what is meant, and the words that say with what.

Two tasks on one sentence: its intent (42 classes) and the slot of every word (BIO tags
of 24 slots). The sentences are generated, and split by template: none of the test split
is in training, though its words are. Joint models stand beside separate ones, and
chains of tags (CRF, decoded by the rule of BIO) beside tags that are chosen each for
itself. A sentence is right if its intent and all of its tags are; for separate models
both have to be. All have the same backbone, two convolutions over words, trained from
scratch, and the same number of epochs, of which validation keeps the best.

    python examples/intents.py                 the table, about an hour
    python examples/intents.py --seeds 1
    python examples/intents.py --smoke         a few steps: does it run?

Measured with three seeds (intent accuracy; slot F1; both right): separate models 0.955
± 0.002; 0.940 ± 0.003; 0.830 ± 0.007, with a CRF for the slots 0.942 ± 0.003; 0.836 ±
0.007; one joint model, of half the parameters, 0.961 ± 0.003; 0.941 ± 0.003; 0.837 ±
0.006; with a CRF 0.960 ± 0.003; 0.943 ± 0.003; 0.841 ± 0.003 (`docs/results.md`).
The most frequent intent would be right in 0.145. The best epoch was the fifth to the
24th of 30 at most, and always followed by three that were not better. Of the eight
intents that have two templates, one of them to learn from, the joint model with a CRF
(first seed) does not find four at all.
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow_datasets as tfds
import tqdm
from recipe import (
    BestEpoch,
    Results,
    classification_report,
    mean_std,
    parsed,
    prepare,
    show_reports,
    vocabulary,
)

import keras_mtl as mtl
from keras_mtl.data import EpochOrder
from keras_mtl.data.augmentation import word_dropout
from keras_mtl.data.datasets.home_assistant_intents import INTENTS, SLOT_TAGS
from keras_mtl.plots import Table, markdown_table

NAME = "home_assistant_intents"
SPLITS = ("train", "validation", "test")
TOKENS = 16  # the longest sentence has 14
PADDING, UNKNOWN = 0, 1
EMBEDDING_DIM, CHANNELS = 64, 128
WORD_DROPOUT, DROPOUT = 0.05, 0.3
BATCH_SIZE = 256
LEARNING_RATE = 2e-3
EPOCHS, PATIENCE = 30, 3
# Name of a row: the models that it needs, `(tasks, whether tags are a chain)`.
BOTH = ("intent", "slots")
ROWS = {
    "separate": ((("intent",), False), (("slots",), False)),
    "separate, CRF": ((("intent",), False), (("slots",), True)),
    "joint": ((BOTH, False),),
    "joint, CRF": ((BOTH, True),),
}
SMOKE_ROWS = ("joint, CRF",)


def make_tasks(names, crf):
    """The tasks of these names; tags of padding are missing."""
    tags = list(SLOT_TAGS)
    slots = mtl.heads.TokenTagging(len(tags), label_names=tags)
    if crf:
        slots = mtl.heads.CRFTagging(len(tags), label_names=tags, bio=True)
    tasks = {
        "intent": mtl.Task("intent", mtl.heads.Classification(len(INTENTS))),
        "slots": mtl.Task("slots", slots, missing=-1, metrics=[]),
    }
    return [tasks[name] for name in names]


def make_backbone(num_words):
    """Embeddings and two convolutions, with zeros where there is no word."""
    layers = keras.layers
    words = keras.Input((TOKENS,), dtype="int32", name="words")
    mask = keras.Input((TOKENS,), dtype="bool", name="word_mask")
    there = keras.ops.cast(keras.ops.expand_dims(mask, -1), "float32")
    x = layers.Embedding(num_words, EMBEDDING_DIM, name="embedding")(words)
    x = layers.Dropout(DROPOUT, name="embedding_dropout")(x) * there
    for index in range(2):
        x = layers.Conv1D(
            CHANNELS, 3, padding="same", activation="relu", name=f"convolution_{index}"
        )(x)
        x = x * there
    x = layers.Dropout(DROPOUT, name="dropout")(x)
    pooled = layers.GlobalMaxPooling1D(name="maximum")(x)
    inputs = {"words": words, "word_mask": mask}
    return keras.Model(inputs, {"sequence": x, "pooled": pooled}, name="sentences")


def load_rows(data_dir):
    """The sentences of every split, as a list of dicts."""
    return {
        split: list(tfds.as_numpy(tfds.load(NAME, split=split, data_dir=data_dir)))
        for split in SPLITS
    }


def known_words(rows, more=()):
    """The number of every word of these sentences, and of some more words."""
    words = np.concatenate([np.array(more, object), *(row["tokens"] for row in rows)])
    return {word: code + 2 for code, word in enumerate(vocabulary(words))}


def load_data(data_dir):
    """The splits as dicts of columns, and the number of words that are known."""
    rows = load_rows(data_dir)
    known = known_words(rows["train"])
    splits = {split: columns(found, known) for split, found in rows.items()}
    return splits, len(known) + 2


def columns(rows, known):
    """Columns of sentences: padded words, as numbers, and labels."""
    made = {
        "words": np.full((len(rows), TOKENS), PADDING, "int32"),
        "slots": np.full((len(rows), TOKENS), -1, "int32"),
        "intent": np.array([row["intent"] for row in rows], "int32"),
    }
    for place, row in enumerate(rows):
        there = slice(0, len(row["tokens"]))
        made["words"][place, there] = [known.get(t, UNKNOWN) for t in row["tokens"]]
        made["slots"][place, there] = row["slots"]
    made["word_mask"] = made["words"] != PADDING
    return made


def inputs_of(model, split):
    return {name: split[name] for name in model.input}


def serve(model, split):
    return model.predict_tasks(inputs_of(model, split), batch_size=512, verbose=0)


def predicted(served):
    """Classes of intents and tags of words, as numbers, of what a model serves."""
    found = {}
    if "intent" in served:
        found["intent"] = served["intent"]["label"]
    if "slots" in served:
        place = {name: index for index, name in enumerate(SLOT_TAGS)}
        names = served["slots"]["label"]
        found["slots"] = np.vectorize(lambda tag: place.get(tag, 0), [int])(names)
    return found


def counted(split, tags):
    """The metric that has counted the entities of these tags."""
    metric = mtl.heads.EntityF1(list(SLOT_TAGS))
    chosen = np.eye(len(SLOT_TAGS), dtype="float32")[tags]
    metric.update_state(split["slots"], chosen)
    return metric


def scores(served, split, reports=False):
    """Accuracy of intents, F1 of slots, and which sentences are right in which task.

    With `reports` tables of classes and slots too.
    """
    found, classes = {}, predicted(served)
    if "intent" in classes:
        right = classes["intent"] == split["intent"]
        found["intent"], found["intent_right"] = float(right.mean()), right
        if reports:
            found["intent report"] = classification_report(
                split["intent"], classes["intent"], INTENTS
            )
    if "slots" in classes:
        tags = classes["slots"]
        metric = counted(split, tags)
        right = ((tags == split["slots"]) | ~split["word_mask"]).all(axis=1)
        found["slots"], found["slots_right"] = float(metric.result()), right
        if reports:
            found["slots report"] = slots_report(
                keras.ops.convert_to_numpy(metric.counts)
            )
    return found


def slots_report(counts):
    """A table of entities by slot, from those right, found and there, `(3, slots)`."""
    names = list(dict.fromkeys(tag[2:] for tag in SLOT_TAGS if tag != "O"))
    counts = np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1)
    right, found, there = counts
    measures = (
        right / np.maximum(found, 1),
        right / np.maximum(there, 1),
        2 * right / np.maximum(found + there, 1),
    )
    rows = [
        (name, *(f"{value:.3f}" for value in values), f"{number:,.0f}")
        for name, *values, number in zip(
            [*names, "all slots"], *measures, there, strict=True
        )
    ]
    header = ("slot", "precision", "recall", "F1", "entities")
    return markdown_table(Table(header, tuple(rows), num_labels=1))


def fit(model, splits, score, seed, epochs, bar):
    """Trains a model, and leaves the variables of the epoch with the best score."""
    labels = {task: splits["train"][task] for task in model.task_names}
    order = EpochOrder(seed)
    data = word_dropout(
        order.batches((inputs_of(model, splits["train"]), labels), BATCH_SIZE),
        WORD_DROPOUT,
        tokens="words",
        unknown=UNKNOWN,
        padding=PADDING,
        seed=seed,
        epoch=order,
    )
    best = BestEpoch(score, PATIENCE, bar)
    model.fit(
        data.prefetch(4),
        epochs=epochs,
        callbacks=[order, best],
        shuffle=False,
        verbose=0,
    )
    return {"epoch": best.epoch, "parameters": model.count_params()}


def train(tasks, crf, splits, num_words, seed, epochs, bar):
    """Test scores of one model; flags of sentences as lists of 0 and 1."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = mtl.build_model(make_backbone(num_words), make_tasks(tasks, crf))
    model.compile(keras.optimizers.Adam(LEARNING_RATE))

    def score(model):
        split = splits["validation"]
        found = scores(serve(model, split), split)
        return np.mean([found[task] for task in tasks])

    costs = fit(model, splits, score, seed, epochs, bar)
    found = scores(serve(model, splits["test"]), splits["test"], reports=True)
    for name in tasks:
        found[f"{name}_right"] = found[f"{name}_right"].astype(int).tolist()
    return found | costs


def together(parts):
    """One row of one seed: the scores of its models, and what both have right."""
    found = {name: value for part in parts for name, value in part.items()}
    intent, slots = (np.array(found[f"{name}_right"]) for name in BOTH)
    return {
        "intent": found["intent"],
        "slots": found["slots"],
        "both": float(np.mean(intent & slots)),
        "parameters": sum(part["parameters"] for part in parts),
        "seconds": sum(part["seconds"] for part in parts),
    }


def table(rows):
    lines = []
    for name, runs in rows.items():
        cells = [mean_std([run[key] for run in runs], 4) for key in (*BOTH, "both")]
        seconds = mean_std([run["seconds"] for run in runs], 0)
        lines.append((name, *cells, f"{runs[0]['parameters']:,}", seconds))
    header = (
        *("model", "intent accuracy ↑", "slot F1 ↑", "both right ↑"),
        *("parameters", "seconds"),
    )
    return markdown_table(Table(header, tuple(lines), num_labels=1))


def main():
    arguments = parsed(__doc__, "intents", EPOCHS)
    runs = pathlib.Path(arguments.runs)
    settings = {"epochs": arguments.epochs, "smoke": arguments.smoke}
    results = Results(runs / "results.json", settings)
    splits, num_words = load_data(prepare(NAME, runs, arguments.smoke))
    names = SMOKE_ROWS if arguments.smoke else tuple(ROWS)
    rows = {name: [] for name in names}
    with tqdm.tqdm(total=arguments.seeds * len(rows), unit="row") as bar:
        for seed in range(arguments.seeds):
            for name in names:
                parts = []
                for tasks, crf in ROWS[name]:
                    key = f"{'+'.join(tasks)}{', CRF' if crf else ''}/{seed}"
                    bar.set_description(key)
                    options = (tasks, crf, splits, num_words, seed, arguments.epochs)
                    parts.append(
                        results.get(key, lambda options=options: train(*options, bar))
                    )
                rows[name].append(together(parts))
                bar.update()
    text = table(rows)
    (runs / "table.md").write_text(text + "\n")
    always = np.bincount(splits["train"]["intent"]).argmax()
    share = np.mean(splits["test"]["intent"] == always)
    print(f"\nTest split, {arguments.seeds} seed(s):\n\n{text}")
    print(f"\nThe most frequent intent alone would be right in {share:.4f}.")
    last = results.content["runs"]["intent+slots, CRF/0"]
    show_reports("the joint model with a CRF", last, BOTH, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
