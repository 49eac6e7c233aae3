"""Messages of programs: into German, into French, and whose they are.

One Transformer encoder reads the English message; two decoders translate it, and a
classifier tells the application that it belongs to, of 22. Beside it three models, one
per task, each with as many epochs. Two baselines know no grammar: the message as it is,
and the translation (or application) of the training message that shares most groups of
three letters with it. Messages of more than 80 characters are left out of all splits:
9,213 are left for training, 1,338 for validation, 2,624 for the test.

Word pieces come from SentencePiece, learnt from the training split, one vocabulary for
the three languages. Texts are brought to the form NFKC first, references too. The best
epoch is kept, by validation (mean accuracy of the next pieces and of the classes); then
a beam search of four writes the test messages. The network and its rates were chosen on
validation by the first epochs of the German model alone, which may favour single-task
models: one block with dropout 0.1 was better than two with 0.2, batches of 256 pieces
than of 512; twice the rate or half of it, tied or larger embeddings did not help.

Two seeds, mean ± standard deviation (docs/results.md says more):

    model                German BLEU, chrF       French BLEU, chrF       application
    the message itself   21.3        22.4        19.7        26.7        0.413
    the nearest message  30.6        47.6        31.4        48.1        0.619
    hard sharing         18.1 ± 0.5  33.0 ± 0.3  19.8 ± 0.6  34.1 ± 0.2  0.654 ± 0.001
    single-task          23.7 ± 0.0  39.9 ± 0.0  28.4 ± 0.4  44.8 ± 0.3  0.651 ± 0.004

(0.413 is the most common application.) Sharing costs much in translation: a model per
language is ahead of the shared one by 6 BLEU in German and 9 in French. The application
gains nothing to speak of (the standard error of each accuracy is 0.009). No model
translates better than the copy of the nearest message, though the French one comes
near; more epochs, which were not tried, may do so. BLEU counts placeholders and marks
as words, so that even the English message has 20; chrF says more.

    python examples/translation.py                 the table
    python examples/translation.py --seeds 1
    python examples/translation.py --smoke         a few steps: does it run?
"""

import collections
import os
import pathlib
import sys
import unicodedata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import keras_hub
import numpy as np
import tensorflow as tf
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
from keras_mtl.analysis import translation_scores
from keras_mtl.data.datasets.message_catalogues import APPLICATIONS
from keras_mtl.plots import Table, markdown_table

LANGUAGES = ("german", "french")
TASKS = (*LANGUAGES, "application")
METRICS = {
    f"{language} {score}": f"{language.capitalize()} {name}"
    for language in LANGUAGES
    for score, name in (("bleu", "BLEU"), ("chrf", "chrF"))
} | {"application accuracy": "application accuracy"}
CHARACTERS = 80  # of the longest English messages in use
VOCABULARY, LENGTH = 2000, 40  # word pieces; those of a message, the end included
SPECIAL = PAD, START, END = 0, 2, 3  # as `compute_sentence_piece_proto` has them
WIDTH, HEADS, DROPOUT, SMOOTHING = 128, 4, 0.1, 0.1
ENCODER_UNITS, DECODER_UNITS = (512,), (512,)  # an entry per block
TOKENS = 256  # of a batch and a language, with padding
BORDERS = (4, 6, 8, 12, 16, 24, 32, LENGTH)  # lengths that messages are padded to
LEARNING_RATE, WARM_UP = 2e-3, 0.1  # the highest; share of the steps before it
EPOCHS = 10
# Name of the row: architecture and what `compile` is given.
ROWS = {"hard sharing": ("hard", {}), "single-task": ("single", {})}
SMOKE_ROWS, SMOKE_VOCABULARY = ("hard sharing",), 500  # its messages have no more


def make_tasks(names):
    def language():
        head = mtl.heads.SequenceToSequence(
            VOCABULARY,
            LENGTH,
            hidden_units=DECODER_UNITS,
            num_heads=HEADS,
            special_tokens=SPECIAL,
            beam_width=4,
            length_penalty=0.6,
            dropout=DROPOUT,
        )
        loss = mtl.heads.SmoothedCrossentropy(SMOOTHING)
        return {"head": head, "missing": PAD, "loss": loss}

    tasks = {
        "german": language(),
        "french": language(),
        "application": {
            "head": mtl.heads.Classification(len(APPLICATIONS), dropout=DROPOUT)
        },
    }
    return [mtl.Task(name, metrics=["accuracy"], **tasks[name]) for name in names]


def make_backbone():
    """Embeddings of pieces and places, and blocks of self-attention."""
    source = keras.Input((None,), dtype="int32", name="source")
    embedding = keras_hub.layers.TokenAndPositionEmbedding(VOCABULARY, LENGTH, WIDTH)
    there = keras.ops.not_equal(source, PAD)
    x = mtl.layers.MaskedSequence()([embedding(source), there])
    x = keras.layers.Dropout(DROPOUT)(x)
    for units in ENCODER_UNITS:
        x = keras_hub.layers.TransformerEncoder(
            units, HEADS, dropout=DROPOUT, normalize_first=True
        )(x)
    x = keras.layers.LayerNormalization()(x)
    return keras.Model(source, {"sequence": x}, name="encoder")


def load_data(data_dir, vocabulary_size):
    """The splits as dicts: texts in the form NFKC, their pieces, the applications.

    Without long messages.
    """
    names = ("english", *LANGUAGES)
    splits = {}
    for split in ("train", "validation", "test"):
        columns = load("message_catalogues", split, data_dir)
        short = [len(text) <= CHARACTERS for text in columns["english"]]
        columns = {name: values[short] for name, values in columns.items()}
        for name in names:
            texts = [unicodedata.normalize("NFKC", text) for text in columns[name]]
            columns[name] = np.array(texts, object)
        splits[split] = columns
    words = np.concatenate([splits["train"][name] for name in names]).tolist()
    proto = keras_hub.tokenizers.compute_sentence_piece_proto(
        tf.data.Dataset.from_tensor_slices([text for text in words if text]),
        vocabulary_size=vocabulary_size,
    )
    tokenizer = keras_hub.tokenizers.SentencePieceTokenizer(proto)
    for columns in splits.values():
        columns["pieces"] = {
            name: pieces_of(columns[name], tokenizer) for name in names
        }
    return splits, tokenizer


def pieces_of(texts, tokenizer):
    """Word pieces `(n, LENGTH)` with the end token; of an empty text nothing at all."""
    pieces = np.full((len(texts), LENGTH), PAD, np.int32)
    for row, found in zip(pieces, tokenizer(texts.tolist()), strict=True):
        if found:
            found = [*found[: LENGTH - 1], END]
            row[: len(found)] = found
    return pieces


def batches(columns, tasks, seed=None):
    """Batches of messages of about one length, in another order every epoch."""
    labels = {task: columns["pieces"].get(task, columns[task]) for task in tasks}
    data = tf.data.Dataset.from_tensor_slices((columns["pieces"]["english"], labels))
    if seed is not None:
        data = data.shuffle(len(columns["english"]), seed=seed)

    def cut(row):
        return tf.boolean_mask(row, row != PAD) if row.shape.rank else row

    def length(source, labels):
        sequences = [row for row in (source, *labels.values()) if row.shape.rank]
        return tf.reduce_max([tf.size(row) for row in sequences])

    def with_tokens(source, labels):
        inputs = {"source": source}
        for task in set(labels) & set(LANGUAGES):
            start = tf.fill([tf.shape(source)[0], 1], START)
            inputs[f"{task}_tokens"] = tf.concat([start, labels[task][:, :-1]], axis=1)
        # A model of one input takes no dict.
        return inputs if len(inputs) > 1 else source, labels

    data = data.map(lambda *rows: tf.nest.map_structure(cut, rows))
    borders = [border + 1 for border in BORDERS[:-1]]
    sizes = [TOKENS // border for border in BORDERS]
    data = data.bucket_by_sequence_length(length, borders, sizes)
    return data.map(with_tokens).prefetch(4)


def scores(model, columns, tokenizer):
    """BLEU, chrF, accuracy and a report of classes, of the tasks that there are."""
    source = columns["pieces"]["english"]
    order = np.argsort(np.sum(source != PAD, axis=1))
    found = {}
    # Messages of about one length together: no search outlasts them.
    source = source[order]
    source = {"source": source} if isinstance(model.input, dict) else source
    served = model.predict_tasks(source, batch_size=128, verbose=0)
    for language in set(served) & set(LANGUAGES):
        texts = texts_of(served[language]["tokens"], tokenizer)
        for name, value in translation_scores(texts, columns[language][order]).items():
            found[f"{language} {name}"] = value
    if "application" in served:
        labels = columns["application"][order]
        predicted = served["application"]["label"]
        found["application accuracy"] = float((predicted == labels).mean())
        found["application report"] = classification_report(
            labels, predicted, APPLICATIONS
        )
    return found


def texts_of(tokens, tokenizer):
    """The texts of rows of tokens that end with the end token, or do not end."""
    rows = [row[~np.isin(row, SPECIAL)].tolist() for row in tokens]
    return tokenizer.detokenize(rows)


def baselines(splits):
    """What the message as it is reaches, and the nearest message of the training."""
    train, test = splits["train"], splits["test"]
    nearest = nearest_texts(test["english"], train["english"])
    rows = {"the message itself": {}, "the nearest message": {}}
    for language in LANGUAGES:
        known = np.flatnonzero(train[language] != "")
        near = known[nearest_texts(test["english"], train["english"][known])]
        answers = (test["english"], train[language][near])
        for found, texts in zip(rows.values(), answers, strict=True):
            for name, value in translation_scores(texts, test[language]).items():
                found[f"{language} {name}"] = value
    largest = np.bincount(train["application"]).argmax()
    answers = (largest, train["application"][nearest])
    for found, labels in zip(rows.values(), answers, strict=True):
        found["application accuracy"] = float((labels == test["application"]).mean())
    return rows


def nearest_texts(texts, known):
    """Place in `known` of the text with most groups of three letters in common.

    In common are those in both, over those in either.
    """

    def trigrams(text):
        text = f"  {text.casefold()}  "
        return {text[i : i + 3] for i in range(len(text) - 2)}

    found = [trigrams(text) for text in known]
    sizes = np.array([len(one) for one in found])
    places = collections.defaultdict(list)
    for place, trigram in ((i, t) for i, one in enumerate(found) for t in one):
        places[trigram].append(place)
    nearest = []
    for one in map(trigrams, texts):
        hits = [place for trigram in one for place in places.get(trigram, ())]
        common = np.bincount(hits, minlength=len(known))
        nearest.append(np.argmax(common / (len(one) + sizes - common)))
    return np.array(nearest)


def train(architecture, methods, tasks, data, seed, arguments, bar):
    """Test scores of the epoch that is best on validation, and the costs."""
    splits, tokenizer = data
    keras.utils.set_random_seed(seed)
    training = batches(splits["train"], tasks, seed)
    validation = batches(splits["validation"], tasks)
    steps = arguments.epochs * sum(1 for _ in training)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        round(steps * (1 - WARM_UP)),
        warmup_target=LEARNING_RATE,
        warmup_steps=round(steps * WARM_UP),
    )
    model = mtl.build_model(make_backbone(), make_tasks(tasks))
    model.compile(keras.optimizers.Adam(rate, beta_2=0.98), **methods)

    def score(model):
        logs = model.evaluate(validation, verbose=0, return_dict=True)
        return np.mean([logs[f"{task}_accuracy"] for task in tasks])

    best = BestEpoch(score, arguments.epochs, bar)
    model.fit(training, epochs=arguments.epochs, callbacks=[best], verbose=0)
    numbers = {"parameters": model.count_params(), "epoch": best.epoch}
    return scores(model, splits["test"], tokenizer) | numbers


def table(rows, known):
    lines = [
        (name, *(f"{found[metric]:.{digits(metric)}f}" for metric in METRICS), "0", "0")
        for name, found in known.items()
    ]
    for name, runs in rows.items():
        values = [
            mean_std([run[metric] for run in runs], digits(metric))
            for metric in METRICS
        ]
        seconds = np.mean([run["seconds"] for run in runs])
        lines.append((name, *values, f"{runs[0]['parameters']:,}", f"{seconds:.0f}"))
    header = ("model", *METRICS.values(), "parameters", "s")
    return markdown_table(Table(header, tuple(lines), num_labels=1))


def digits(metric):
    return 3 if metric.endswith("accuracy") else 1


def main():
    arguments = parsed(__doc__, "translation", EPOCHS)
    runs = pathlib.Path(arguments.runs)
    settings = {"epochs": arguments.epochs, "smoke": arguments.smoke}
    results = Results(runs / "results.json", settings)
    vocabulary_size = SMOKE_VOCABULARY if arguments.smoke else VOCABULARY
    data_dir = prepare("message_catalogues", runs, arguments.smoke)
    data = load_data(data_dir, vocabulary_size)

    def run(architecture, methods, tasks, seed, bar):
        return train(architecture, methods, tasks, data, seed, arguments, bar)

    rows = {name: ROWS[name] for name in SMOKE_ROWS} if arguments.smoke else ROWS
    found = compare(rows, TASKS, arguments.seeds, results, run)
    text = table(found, baselines(data[0]))
    (runs / "table.md").write_text(text + "\n")
    print(f"\nTest split, messages that no model has seen:\n\n{text}")
    show_reports("hard sharing", found["hard sharing"][0], ["application"], runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
