"""Continual learning: a model that reads digits learns to find them, too.

A model has learnt the class of a digit and the thickness of its stroke. It gets a head
for the digit's box, and is trained further on other images, of which only the box is
labelled. The table says what the old tasks lost (backward transfer), and what the new
one gained over a model that starts from nothing (forward transfer), for several ways to
go on.

One seed, test split; five epochs for the first half of the images and for the second:

    way                              digit accuracy   stroke error, pixels   box IoU
    before; a model of the box only            0.903                  0.176     0.808
    fine-tuning                                0.133                  1.274     0.823
    frozen backbone                            0.903                  0.176     0.534
    elastic weights                            0.887                  0.738     0.667
    distillation                               0.909                  0.154     0.748
    labels of the old tasks, too               0.935                  0.124     0.767

Fine-tuning forgets the digits almost wholly, and gives the best box. Distillation,
which needs no labels of the old tasks, keeps both of them, for 0.06 of the box's
overlap; elastic weights lose the stroke. Training on all labels is what it can be
compared with.

    python examples/continual_digits.py              the table
    python examples/continual_digits.py --seeds 1    as above
    python examples/continual_digits.py --smoke      a few steps: does it run?
"""

import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from recipe import load, mean_std, parsed, prepare

import keras_mtl as mtl
from keras_mtl.analysis import transfer_report
from keras_mtl.continual import add_tasks, fisher_information, protect
from keras_mtl.data import distilled, pairs
from keras_mtl.plots import Table, markdown_table

BATCH_SIZE = 64
OLD = ("digit", "stroke")
LEARNING_RATE = 1e-3
STRENGTH = 300.0  # of the elastic penalty
FISHER_EXAMPLES = 2000
WAYS = ("fine-tuning", "frozen backbone", "elastic weights", "distillation", "labels")
METRICS = (("digit", "accuracy"), ("stroke", "mae"), ("box", "iou"))


def tasks_of(*names, soft=False):
    heads = {
        "digit": mtl.heads.Classification(10, one_hot=soft),
        "box": mtl.heads.BoundingBox(image_size=(48, 48)),
        "stroke": mtl.heads.Regression(),
    }
    losses = {"digit": mtl.heads.DistillationLoss() if soft else None}
    return [mtl.Task(name, heads[name], loss=losses.get(name)) for name in names]


def batches(columns, labels):
    names = ("image", *labels)
    data = tf.data.Dataset.from_tensor_slices({name: columns[name] for name in names})
    return pairs(data.batch(BATCH_SIZE), labels=labels)


def fit(model, data, epochs):
    """The model, trained; the images are in random order already."""
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, len(data) * epochs)
    model.compile(keras.optimizers.Adam(rate))
    model.fit(data, epochs=epochs, shuffle=False, verbose=0)
    return model


def fresh(names):
    backbone = mtl.backbones.ConvNet(input_shape=(48, 48, 1))
    return mtl.build_model(backbone, tasks_of(*names))


def trained_further(way, old, first, second, epochs):
    """The old model with a head for the box, trained on the second half."""
    soft = way == "distillation"
    model = add_tasks(old, tasks_of("box", *OLD if soft else (), soft=soft))
    data = batches(second, ("box",))
    if way == "frozen backbone":
        # Not by a learning rate of 0, with which batch statistics would move.
        model.get_layer("convnet").trainable = False
    elif way == "elastic weights":
        images = batches(first, OLD)
        importance = fisher_information(old, images, num_examples=FISHER_EXAMPLES)
        protect(model, importance, strength=STRENGTH)
    elif way == "distillation":
        data = distilled(data, old)
    elif way == "labels":
        data = batches(second, (*OLD, "box"))
    fit(model, data, epochs)
    # With a head that takes class indices again, which the test labels are.
    model = add_tasks(model, tasks_of("digit"))
    model.compile()
    return model


def run(splits, seed, epochs):
    """A transfer report for every way to go on."""
    keras.utils.set_random_seed(seed)
    first, second, test = splits
    old = fit(fresh(OLD), batches(first, OLD), epochs)
    alone = fit(fresh(("box",)), batches(second, ("box",)), epochs)
    data = batches(test, (*OLD, "box"))
    reports = {}
    for way in WAYS:
        model = trained_further(way, old, first, second, epochs)
        reports[way] = transfer_report(old, model, data, alone={"box": alone})
        values = {k: round(reports[way].after[k][m], 4) for k, m in METRICS}
        print(f"seed {seed}, {way}: {values}", flush=True)
    return reports


def table(runs):
    """Markdown: a line per way to go on, mean ± std over the seeds."""
    first = [next(iter(reports.values())) for reports in runs]
    before = [
        mean_std([{**r.before, **r.alone}[task][metric] for r in first], 3)
        for task, metric in METRICS
    ]
    lines = [("before; box alone", *before)]
    for way in WAYS:
        after = [
            mean_std([reports[way].after[task][metric] for reports in runs], 3)
            for task, metric in METRICS
        ]
        lines.append((way, *after))
    header = ("way", "digit accuracy ↑", "stroke error, pixels ↓", "box IoU ↑")
    return markdown_table(Table(header, tuple(lines), num_labels=1))


def main():
    arguments = parsed(__doc__, "continual_digits", epochs=5)
    folder = pathlib.Path(arguments.runs)
    data_dir = prepare("digits_on_canvas", folder, arguments.smoke)
    train = load("digits_on_canvas", "train", data_dir)
    half = len(train["image"]) // 2
    splits = (
        {name: values[:half] for name, values in train.items()},
        {name: values[half:] for name, values in train.items()},
        load("digits_on_canvas", "test", data_dir),
    )
    runs = [run(splits, seed, arguments.epochs) for seed in range(arguments.seeds)]
    text = table(runs)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(text + "\n")
    found = [{way: r.after for way, r in reports.items()} for reports in runs]
    (folder / "results.json").write_text(json.dumps(found, indent=1))
    print(f"\nTest split, {arguments.seeds} seed(s):\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
