"""Questions about two digits: a picture, a text, and what it takes to answer.

Two modalities and two tasks: the answer (a number from 0 to 18) and what the question
is about. The pictures are those of `multi_mnist`, two overlapping handwritten digits;
the questions are generated from a dozen templates (the larger one, the sum, …), so this
is a study of fusion, not of language. One in ten examples lacks its picture, one in ten
its question: what is asked about then can still be told without the picture, and the
answer can be guessed. Models of one modality stand beside all ways of `Fusion`, and a
model for each task beside those for both.

Measured with three seeds (the table is in `docs/results.md`): the answer is right in
0.62 to 0.67 of the examples with concatenation and a gated sum, 0.77 with the latter
where both modalities are there; in 0.37 from the picture alone, 0.14 from the question
alone, and 0.11 is the most frequent answer. Attention is behind at this size: 0.55 and
0.58. One network for both tasks is ahead of two (0.625 against 0.579 with
concatenation). The topic is right in 0.92: one in ten has no question.

    python examples/questions.py                 the table, half an hour on one core
    python examples/questions.py --seeds 1
    python examples/questions.py --smoke         a few steps: does it run?
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from keras import layers
from recipe import (
    BestEpoch,
    Results,
    classification_report,
    compare,
    load,
    mean_std,
    parsed,
    prepare,
    show_reports,
)

import keras_mtl as mtl
from keras_mtl.data import EpochOrder
from keras_mtl.plots import Table, markdown_table

SIZES = {"train": 20000, "validation": 2000, "test": 10000}
TASKS = ("answer", "topic")
# What is asked about: templates, and the answer from the left and the right digit.
TOPICS = {
    "left": (("what is on the left", "which digit is at the top"), lambda a, b: a),
    "right": (("what is on the right", "which digit is at the bottom"), lambda a, b: b),
    "larger": (("which one is larger", "what is the greater digit"), np.maximum),
    "smaller": (("which one is smaller", "what is the lesser digit"), np.minimum),
    "sum": (("what is the sum", "how much are they together"), np.add),
    "difference": (("what is the difference", "how far are they apart"), None),
}
CLASSES = {"answer": [str(number) for number in range(19)], "topic": list(TOPICS)}
WORDS = 6
LACKING = 0.1  # of each modality
UNITS = 64
BATCH_SIZE, LEARNING_RATE, EPOCHS = 128, 1e-3, 8
# Name of the row: architecture, and the backbone.
ROWS = {
    "question only": ("hard", {"modalities": ("question",)}),
    "picture only": ("hard", {"modalities": ("picture",)}),
    "concatenation": ("hard", {"fusion": "concat"}),
    "gated sum": ("hard", {"fusion": "gated"}),
    "bilinear attention": ("hard", {"fusion": "bilinear"}),
    "multi-head attention": ("hard", {"fusion": "multi_head"}),
    "concatenation, single-task": ("single", {"fusion": "concat"}),
}
REPORTED = "multi-head attention"
SMOKE_ROWS = ("question only", REPORTED)


def ask(left, right, rng):
    """Questions, answers and topics for pairs of digits."""
    topic = rng.integers(0, len(TOPICS), len(left))
    wording = rng.integers(0, 2, len(left))
    questions = np.empty(len(left), object)
    answers = np.empty(len(left), np.int64)
    for place, (templates, rule) in enumerate(TOPICS.values()):
        here = topic == place
        questions[here] = np.array(templates, object)[wording[here]]
        a, b = left[here], right[here]
        answers[here] = np.abs(a - b) if rule is None else rule(a, b)
    return questions, answers, topic


def load_data(data_dir, smoke):
    """The splits as `(inputs, labels)`; placeholders stand for what is lacking."""
    splits = {}
    for number, (split, size) in enumerate(SIZES.items()):
        columns = load("multi_mnist", split, data_dir)
        rows = slice(64 if smoke else size)
        rng = np.random.default_rng(number)
        image = columns["image"][rows].astype("float32") / 255
        left, right = columns["left"][rows], columns["right"][rows]
        questions, answers, topic = ask(left, right, rng)
        lacking = rng.random(len(left))  # never both
        inputs = {
            "image": image,
            "words": questions,
            "picture_present": lacking > LACKING,
            "question_present": (lacking <= LACKING) | (lacking > 2 * LACKING),
        }
        inputs["image"][~inputs["picture_present"]] = 0
        # One unknown word: the mean over no word at all would not be a number.
        inputs["words"][~inputs["question_present"]] = "nothing"
        splits[split] = (inputs, {"answer": answers, "topic": topic})
    known = layers.TextVectorization(output_sequence_length=WORDS)
    known.adapt([text for templates, _ in TOPICS.values() for text in templates])
    for inputs, _ in splits.values():
        inputs["words"] = known(inputs["words"].tolist()).numpy().astype("int32")
    return splits, known.vocabulary_size()


def picture_encoder(fusion):
    """A small convolutional network; attention reads its map, others a dense layer."""
    attends = fusion in ("bilinear", "multi_head")
    return mtl.backbones.ConvNet(
        input_shape=(36, 36, 1),
        filters=(16, 32, 64),
        pooling="average" if attends else "flatten",
    )


def question_encoder(vocabulary_size):
    """Embeddings of words and a GRU; 0 is no word."""
    words = keras.Input((WORDS,), dtype="int32", name="words")
    x = layers.Embedding(vocabulary_size, 32, mask_zero=True, name="embedding")(words)
    states = layers.GRU(UNITS, return_sequences=True, name="gru")(x)
    pooled = layers.GlobalAveragePooling1D(name="pooled")(states)
    return keras.Model(words, {"sequence": states, "pooled": pooled}, name="question")


def make_backbone(vocabulary_size, fusion=None, modalities=()):
    """One encoder, or both in a `Fusion`."""
    encoders = {
        "picture": picture_encoder(fusion),
        "question": question_encoder(vocabulary_size),
    }
    if fusion is None:
        return encoders[modalities[0]]
    return mtl.backbones.Fusion(
        encoders, fusion=fusion, units=UNITS, missing="learned", dropout=0.1
    )


def train(backbone, tasks, splits, vocabulary_size, seed, arguments, bar):
    """Test accuracies of the epoch that is best on validation, and the costs."""
    keras.utils.set_random_seed(seed)
    model = mtl.build_model(
        make_backbone(vocabulary_size, **backbone),
        [
            mtl.Task(
                name,
                mtl.heads.Classification(len(CLASSES[name]), hidden_units=(UNITS,)),
            )
            for name in tasks
        ],
    )
    model.compile(keras.optimizers.Adam(LEARNING_RATE))
    names = [t.name for t in keras.tree.flatten(model.input)]

    def part(split):
        inputs, labels = splits[split]
        inputs = {name: inputs[name] for name in names}
        labels = {task: labels[task] for task in tasks}
        return inputs if isinstance(model.input, dict) else inputs[names[0]], labels

    def score(split):
        logs = model.evaluate(*part(split), batch_size=500, verbose=0, return_dict=True)
        return {task: logs[f"{task}_accuracy"] for task in tasks}

    best = BestEpoch(
        lambda _: np.mean(list(score("validation").values())), arguments.epochs, bar
    )
    order = EpochOrder(seed)
    model.fit(
        order.batches(part("train"), BATCH_SIZE).prefetch(4),
        epochs=arguments.epochs,
        callbacks=[order, best],
        shuffle=False,
        verbose=0,
    )
    inputs, labels = splits["test"]
    served = model.predict_tasks(part("test")[0], batch_size=500, verbose=0)
    predicted = {task: served[task]["label"] for task in tasks}
    found = score("test")
    for task, classes in predicted.items():
        found[f"{task} report"] = classification_report(
            labels[task], classes, CLASSES[task]
        )
    if "answer" in tasks:
        found |= by_presence(predicted["answer"] == labels["answer"], inputs)
    return found | {"parameters": model.count_params(), "epoch": best.epoch}


def by_presence(right, inputs):
    """Accuracy of the answer where both modalities are there, and where one lacks."""
    picture, question = inputs["picture_present"], inputs["question_present"]
    return {
        "both": float(right[picture & question].mean()),
        "no picture": float(right[~picture].mean()),
        "no question": float(right[~question].mean()),
    }


def table(rows):
    columns = ("answer", "both", "no picture", "no question", "topic")
    lines = []
    for name, runs in rows.items():
        cells = [mean_std([100 * run[c] for run in runs], 1) for c in columns]
        parameters = f"{runs[0]['parameters']:,}"
        seconds = f"{np.mean([run['seconds'] for run in runs]):.0f}"
        lines.append((name, *cells, parameters, seconds))
    header = (
        *("model", "answer, %", "with both", "without picture"),
        *("without question", "topic, %", "parameters", "s"),
    )
    return markdown_table(Table(header, tuple(lines), num_labels=1))


def main():
    arguments = parsed(__doc__, "questions", EPOCHS)
    runs = pathlib.Path(arguments.runs)
    settings = {"epochs": arguments.epochs, "smoke": arguments.smoke}
    results = Results(runs / "results.json", settings)
    data_dir = prepare("multi_mnist", runs, arguments.smoke)
    splits, vocabulary_size = load_data(data_dir, arguments.smoke)

    def run(architecture, backbone, tasks, seed, bar):
        del architecture  # hard sharing, or a model of one task
        return train(backbone, tasks, splits, vocabulary_size, seed, arguments, bar)

    rows = {name: ROWS[name] for name in SMOKE_ROWS} if arguments.smoke else ROWS
    found = compare(rows, TASKS, arguments.seeds, results, run)
    text = table(found)
    (runs / "table.md").write_text(text + "\n")
    answers = np.bincount(splits["train"][1]["answer"])
    most = np.mean(splits["test"][1]["answer"] == answers.argmax())
    print(f"\nTest split, {arguments.seeds} seed(s):\n\n{text}")
    print(f"\nThe most frequent answer is right in {100 * most:.1f} %.")
    show_reports(REPORTED, found[REPORTED][0], TASKS, runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
