"""Digits on a canvas: class, box and stroke thickness from one network.

The data are 5,000 real handwritten digits, pasted at random places and scales among
pieces of other digits. One multi-task model is trained beside one model per task, with
the same backbone, optimizer steps and batch size, and compared on the test split.

    python examples/digits.py                 what `make demo` runs, a few minutes
    python examples/digits.py --steps 3282 --seeds 5 --compare    the README's table
    python examples/digits.py --smoke         a few steps, to see that all of it runs
"""

import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow_datasets as tfds

import keras_mtl as mtl
import keras_mtl.data.datasets  # registers "digits_on_canvas"
from keras_mtl.analysis import read_run, run_figure, training_flops
from keras_mtl.data import EpochOrder, pairs
from keras_mtl.plots import (
    comparison_table,
    markdown_table,
    save_png,
    text_table,
)

BATCH_SIZE = 64
STEPS_PER_EPOCH = 547  # one pass over the 35,000 training examples
WEIGHT_CHOICES = [
    {"digit": 1.0, "box": 1.0, "stroke": 1.0},
    {"digit": 1.0, "box": 2.0, "stroke": 1.0},
    {"digit": 2.0, "box": 1.0, "stroke": 1.0},
    {"digit": 1.0, "box": 2.0, "stroke": 4.0},
]


def make_tasks():
    return [
        mtl.Task("digit", mtl.heads.Classification(10)),
        mtl.Task("box", mtl.heads.BoundingBox(image_size=(48, 48)), loss_weight=2.0),
        mtl.Task("stroke", mtl.heads.Regression()),
    ]


def load(split):
    return tfds.load("digits_on_canvas", split=split)


def train(tasks, arguments, seed, run=None, **compile_arguments):
    """A trained model of the given tasks; its logs go to `run`."""
    keras.utils.set_random_seed(seed)
    steps = min(STEPS_PER_EPOCH, arguments.steps)
    epochs = max(1, arguments.steps // steps)
    order = EpochOrder(seed)
    batches = order.batches(load("train"), BATCH_SIZE, steps_per_epoch=steps)
    names = [task.name for task in tasks]
    model = mtl.build_model(mtl.backbones.ConvNet(input_shape=(48, 48, 1)), tasks)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps * epochs)
    model.compile(keras.optimizers.Adam(rate), **compile_arguments)
    callbacks = [order]
    if run is not None:
        callbacks.append(mtl.callbacks.TaskTensorBoard(str(run)))
    model.fit(
        pairs(batches, labels=names),
        validation_data=pairs(load("validation").batch(250), labels=names),
        epochs=epochs,
        callbacks=callbacks,
        shuffle=False,
    )
    return model


def scores(model, split):
    """Accuracy, mean IoU and mean absolute error, as far as the model has the task."""
    batches = pairs(load(split).batch(250), labels=model.task_names)
    logs = model.evaluate(batches, verbose=0, return_dict=True)
    return {
        task.name: {metric: logs[f"{task.name}_{metric}"]}
        for task, metric in zip(make_tasks(), ("accuracy", "iou", "mae"), strict=True)
        if task.name in model.task_names
    }


def tune_weights(arguments):
    """The fixed weights that are best on validation: one seed, a third of the steps.

    A task's score is relative to its best among the choices; errors count inversely.
    """
    shorter = argparse.Namespace(**{**vars(arguments), "steps": arguments.steps // 3})
    found = []
    for weights in WEIGHT_CHOICES:
        print(f"\ntuning fixed weights: {weights}")
        model = train(make_tasks(), shorter, seed=0, loss_weights=weights)
        score = scores(model, "validation")
        found.append(
            [
                score["digit"]["accuracy"],
                score["box"]["iou"],
                1 / score["stroke"]["mae"],
            ]
        )
    relative = np.array(found) / np.max(found, axis=0)
    return WEIGHT_CHOICES[int(np.argmax(relative.mean(axis=1)))]


def compared_models(arguments):
    """Names of the models, their tasks and how they are compiled."""
    tasks = make_tasks()
    methods = {"loss_weighting": "uncertainty", "balancer": "pcgrad"}
    models = {"multi-task": (tasks, methods)}
    if arguments.compare:
        tuned = tune_weights(arguments)
        print(f"\ntuned fixed weights: {tuned}")
        models["tuned fixed weights"] = (tasks, {"loss_weights": tuned})
    for task in tasks:
        models[f"{task.name} alone"] = ([task], {})
    return models


def compare(arguments, runs):
    """Test scores of all models over all seeds, and the multi-task model."""
    results, flops, multi_task = {}, {}, None
    models = compared_models(arguments)
    for seed in range(arguments.seeds):
        for number, (name, (tasks, compiled)) in enumerate(models.items(), 1):
            print(f"\nseed {seed}, model {number} of {len(models)}: {name}")
            run = runs / name.replace(" ", "_") if seed == 0 else None
            model = train(tasks, arguments, seed, run, **compiled)
            multi_task = multi_task or model
            column = "single-task" if name.endswith(" alone") else name
            for task, values in scores(model, "test").items():
                for metric, value in values.items():
                    seen = results.setdefault(column, {}).setdefault(task, {})
                    seen.setdefault(metric, []).append(value)
            passes = len(tasks) if "balancer" in compiled else 1
            examples = arguments.steps * BATCH_SIZE
            cost = training_flops(model, examples, passes)
            if seed == 0:
                flops[column] = flops.get(column, 0) + cost
            (runs / "results.json").write_text(json.dumps(results, indent=1))
    if arguments.seeds == 1:
        results = {
            c: {t: {m: v[0] for m, v in ms.items()} for t, ms in ts.items()}
            for c, ts in results.items()
        }
    return results, flops, multi_task


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=1641, help="optimizer steps")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--compare", action="store_true", help="fixed weights as well")
    parser.add_argument("--runs", default="runs/digits", help="folder of the logs")
    parser.add_argument("--export", default="saved_models/digits")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.steps = 8
    runs = pathlib.Path(arguments.runs)
    runs.mkdir(parents=True, exist_ok=True)

    tfds.builder("digits_on_canvas").download_and_prepare()
    results, flops, model = compare(arguments, runs)

    table = comparison_table(results)
    print(f"\nTest split, {arguments.steps} steps of {BATCH_SIZE} for every model:\n")
    print(text_table(table))
    (runs / "table.md").write_text(markdown_table(table) + "\n")
    print("\nFloating-point operations of the training (estimate):")
    for name, count in flops.items():
        models = "three models together" if name == "single-task" else "one model"
        print(f"  {name}: {count:.2e} ({models})")

    save_png(run_figure(read_run(runs / "multi-task")), runs / "report.png")

    version = mtl.export.export_saved_model(model, arguments.export)
    example = next(iter(tfds.as_numpy(load("test").take(1))))
    image = example["image"][None].astype("float32") / 255
    served = mtl.export.predict_saved_model(arguments.export, {"image": image})
    print(f"\nExported to {version}. Another process, without Python TensorFlow, says:")
    print(f"  digit {served['digit_label'][0]} (true: {example['digit']})")
    found, true = served["box_pixels"][0], example["box"] * 48
    print(f"  box {np.array2string(found, precision=1)} pixels (true: {true})")
    stroke = served["stroke_value"][0]
    print(f"  stroke {stroke:.2f} pixels (true: {example['stroke']:.2f})")
    print(f"\nCurves, weights and cosines: {runs / 'report.png'}")
    print(f"TensorBoard: tensorboard --logdir {runs}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
