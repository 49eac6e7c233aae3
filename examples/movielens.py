"""MovieLens-100k as a recommender: which films will a user watch, and which like?

Two tasks for every pair of a user and a film: a click (the user rates the film at all)
and a like (with four stars or more). Films that a user did not rate are negatives,
drawn at random for every batch, so both labels exist for all pairs, as in a funnel: no
like without a click. ESMM and AITM use that. Every user's last ratings are the test
set; from each model come two lists per user, of ten films that are new to the user, one
ranked for clicks and one for likes.

    python examples/movielens.py                 the table, about half an hour
    python examples/movielens.py --seeds 1
    python examples/movielens.py --smoke         a few steps: does it run?
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from recipe import (
    BestEpoch,
    Results,
    codes,
    compare,
    load,
    mean_std,
    parsed,
    prepare,
    vocabulary,
)

import keras_mtl as mtl
from keras_mtl.data import EpochOrder
from keras_mtl.plots import Table, markdown_table

TASKS = ("click", "like")
TOP = 10
NEGATIVES = 4  # pairs drawn for each rating
EMBEDDING_DIM = 32
BATCH_SIZE = 512  # ratings; the pairs drawn for them come on top
LEARNING_RATE = 1e-3
EPOCHS, PATIENCE = 15, 3
# Name of the row: architecture and what `compile` is given.
ROWS = {
    "single-task": ("single", {}),
    "hard sharing": ("hard", {}),
    "hard sharing, PCGrad": ("hard", {"balancer": "pcgrad"}),
    "ESMM": ("esmm", {}),
    "MMoE": ("mmoe", {}),
    "AITM": ("aitm", {}),
}
SMOKE_ROWS = ("single-task", "ESMM", "AITM")


class Ratings:
    """What is known of users, films and their pairs.

    Attributes:
        rated: Dict from split to a table `(users, films)`: 1 for a rating.
        liked: The same for four stars or more.
        users: Features of the users, `(users, features)`.
        films: Features of the films, `(films, features)`.
        titles: Titles of the films.
    """

    def __init__(self, data_dir):
        splits = {
            split: load("movielens_100k", split, data_dir)
            for split in ("train", "validation", "test")
        }
        everything = {
            name: np.concatenate([columns[name] for columns in splits.values()])
            for name in splits["train"]
        }
        known = {name: vocabulary(everything[name]) for name in ("user_id", "movie_id")}
        shape = tuple(len(ids) for ids in known.values())
        self.rated, self.liked = {}, {}
        for split, columns in splits.items():
            pairs = tuple(codes(columns[name], ids) for name, ids in known.items())
            self.rated[split] = np.zeros(shape, "int32")
            self.liked[split] = np.zeros(shape, "int32")
            self.rated[split][pairs] = 1
            self.liked[split][pairs] = columns["rating"] >= 4
        first = {
            name: np.unique(everything[name], return_index=True)[1] for name in known
        }
        user = {name: v[first["user_id"]] for name, v in everything.items()}
        film = {name: v[first["movie_id"]] for name, v in everything.items()}
        jobs = vocabulary(user["occupation"])
        self.users = np.column_stack(
            [
                (user["age"] - 34) / 12,
                user["gender"] == "F",
                np.eye(len(jobs))[codes(user["occupation"], jobs)],
            ]
        ).astype("float32")
        years = np.where(film["release_year"] > 0, film["release_year"], 1990)
        self.films = np.column_stack([(years - 1990) / 15, film["genres"]])
        self.films = self.films.astype("float32")
        self.titles = film["title"]

    def labels(self, split, user, film):
        tables = {"click": self.rated[split], "like": self.liked[split]}
        pairs = tf.stack([user, film], axis=1)
        return {task: tf.gather_nd(table, pairs) for task, table in tables.items()}

    def inputs(self, user, film):
        return {
            "user": user,
            "film": film,
            "user_features": tf.gather(self.users, user),
            "film_features": tf.gather(self.films, film),
        }

    def with_negatives(self, tasks):
        """Function that adds pairs, drawn at random, to a batch of rated ones.

        The draw depends on the batch alone, so a run that is resumed sees the same. A
        pair that happens to be rated keeps its labels.
        """

        def add(user, film):
            seed = tf.stack([tf.reduce_sum(user), tf.reduce_sum(user * film)])
            drawn = tf.random.stateless_uniform(
                [NEGATIVES * tf.size(film)], seed, 0, len(self.films), tf.int32
            )
            user = tf.concat([user, tf.repeat(user, NEGATIVES)], axis=0)
            film = tf.concat([film, drawn], axis=0)
            labels = self.labels("train", user, film)
            return self.inputs(user, film), {task: labels[task] for task in tasks}

        return add


def make_backbone(ratings, units):
    """Embeddings of user and film, their product, and what is known of both."""
    layers = keras.layers
    inputs, columns = {}, []
    for name, features in (("user", ratings.users), ("film", ratings.films)):
        inputs[name] = keras.Input((), dtype="int32", name=name)
        more = f"{name}_features"
        inputs[more] = keras.Input(features.shape[1:], name=more)
        embedding = layers.Embedding(
            len(features),
            EMBEDDING_DIM,
            embeddings_regularizer=keras.regularizers.L2(1e-6),
            name=f"{name}_embedding",
        )(inputs[name])
        about = layers.Dense(EMBEDDING_DIM, name=f"{more}_dense")(inputs[more])
        columns.append(layers.Add(name=f"{name}_sum")([embedding, about]))
    product = layers.Multiply(name="product")(columns)
    x = layers.Concatenate(name="pair")([*columns, product])
    x = layers.Dropout(0.2, name="pair_dropout")(x)
    for index, width in enumerate(units):
        x = layers.Dense(width, activation="relu", name=f"dense_{index}")(x)
    return keras.Model(inputs, {"pooled": x}, name="pairs")


def build(architecture, tasks, ratings):
    tower = {"hidden_units": (32,)}
    conversion = {"hidden_units": (32,), "after": "click"}
    heads = {task: mtl.heads.BinaryClassification(**tower) for task in TASKS}
    if architecture == "esmm":
        heads["like"] = mtl.heads.Conversion(**conversion)
    elif architecture == "aitm":
        heads["like"] = mtl.heads.Conversion(**conversion, coupling="calibrator")
    experts = {
        "mmoe": mtl.architectures.MMoE(4, units=(64,)),
        "aitm": mtl.architectures.AITM(),
    }
    units = () if architecture == "mmoe" else (64,)
    return mtl.build_model(
        make_backbone(ratings, units),
        [mtl.Task(task, heads[task], metrics=[]) for task in tasks],
        architecture=experts.get(architecture, "hard"),
    )


def all_scores(model, ratings):
    """Logits of every pair by task, each `(users, films)`."""
    users, films = ratings.rated["train"].shape
    user, film = np.divmod(np.arange(users * films, dtype="int32"), films)
    pairs = tf.data.Dataset.from_tensor_slices((user, film)).batch(16384)
    logits = model.predict(pairs.map(ratings.inputs), verbose=0)
    return {task: values.reshape(users, films) for task, values in logits.items()}


def top_films(scores, known):
    """The best films of every user that are not known already, best first."""
    scores = np.where(known > 0, -np.inf, scores)
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP]


def ranking(lists, relevant):
    """NDCG@10 and Recall@10, means over the users who have a relevant film.

    Recall counts the relevant films in the list, of all that there are; the ideal of
    NDCG is a list that begins with as many relevant films as there are, or ten.
    """
    some = relevant.sum(axis=1) > 0
    lists, relevant = lists[some], relevant[some]
    found = np.take_along_axis(relevant, lists, axis=1)
    count = relevant.sum(axis=1)
    discount = 1 / np.log2(np.arange(2, TOP + 2))
    ideal = np.concatenate([[0], np.cumsum(discount)])[np.minimum(count, TOP)]
    return {
        "ndcg": float(np.mean(found @ discount / ideal)),
        "recall": float(np.mean(found.sum(axis=1) / count)),
    }


def measures(scores, ratings, split):
    """NDCG@10 and Recall@10 of every task, on films that are new to the user."""
    known = ratings.rated["train"].copy()
    if split == "test":
        known |= ratings.rated["validation"]
    relevant = {"click": ratings.rated[split], "like": ratings.liked[split]}
    found = {}
    for task, values in scores.items():
        numbers = ranking(top_films(values, known), relevant[task])
        found |= {f"{task} {name}": value for name, value in numbers.items()}
    return found


def popularity(ratings):
    """Scores that are the same for all users: how often a film was rated, or liked."""
    tables = {"click": ratings.rated["train"], "like": ratings.liked["train"]}
    return {
        task: np.broadcast_to(table.sum(axis=0).astype("float32"), table.shape)
        for task, table in tables.items()
    }


def train(architecture, methods, tasks, ratings, seed, arguments, bar):
    """The model of the epoch that is best on validation."""
    keras.utils.set_random_seed(seed)
    model = build(architecture, tasks, ratings)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), **methods)

    def validation(model):
        found = measures(all_scores(model, ratings), ratings, "validation")
        return np.mean([found[f"{task} ndcg"] for task in tasks])

    order = EpochOrder(seed)
    rated = tuple(i.astype("int32") for i in np.nonzero(ratings.rated["train"]))
    batches = order.batches(rated, BATCH_SIZE)
    model.fit(
        batches.map(ratings.with_negatives(tasks)).prefetch(4),
        epochs=arguments.epochs,
        callbacks=[order, BestEpoch(validation, PATIENCE, bar)],
        shuffle=False,
        verbose=0,
    )
    return model


def show_lists(name, scores, ratings, user=0):
    """Prints the ten films for a user, and marks those that the user then liked."""
    print(f"\nThe lists of {name} for user {user + 1} (* clicked, ** liked later):")
    known = ratings.rated["train"] | ratings.rated["validation"]
    for task, values in scores.items():
        print(f"\n  {task}")
        for film in top_films(values, known)[user]:
            hits = ratings.rated["test"][user, film] + ratings.liked["test"][user, film]
            print(f"    {'*' * hits:<2} {ratings.titles[film]}")


def table(rows, baseline):
    keys = [f"{task} {name}" for task in TASKS for name in ("ndcg", "recall")]
    lines = [("popularity", *(f"{baseline[key]:.4f}" for key in keys), "0", "0")]
    for name, runs in rows.items():
        cells = [mean_std([run[key] for run in runs], 4) for key in keys]
        seconds = np.mean([run["seconds"] for run in runs])
        lines.append((name, *cells, f"{runs[0]['parameters']:,}", f"{seconds:.0f}"))
    titles = [
        f"{task} {measure}@{TOP}" for task in TASKS for measure in ("NDCG", "Recall")
    ]
    header = ("model", *titles, "parameters", "s")
    return markdown_table(Table(header, tuple(lines), num_labels=1))


def main():
    arguments = parsed(__doc__, "movielens", EPOCHS)
    runs = pathlib.Path(arguments.runs)
    settings = {"epochs": arguments.epochs, "smoke": arguments.smoke}
    results = Results(runs / "results.json", settings)
    ratings = Ratings(prepare("movielens_100k", runs, arguments.smoke))
    shown = {"popularity": popularity(ratings)}

    def run(architecture, methods, tasks, seed, bar):
        model = train(architecture, methods, tasks, ratings, seed, arguments, bar)
        scores = all_scores(model, ratings)
        if architecture == "esmm":
            shown["ESMM"] = scores
        found = measures(scores, ratings, "test")
        return found | {"parameters": model.count_params()}

    rows = {name: ROWS[name] for name in SMOKE_ROWS} if arguments.smoke else ROWS
    found = compare(rows, TASKS, arguments.seeds, results, run)
    baseline = measures(shown["popularity"], ratings, "test")
    text = table(found, baseline)
    (runs / "table.md").write_text(text + "\n")
    print(f"\nTest split, films that are new to the user:\n\n{text}")
    # A model that was trained in an earlier run is not there to make lists.
    show_lists(*list(shown.items())[-1], ratings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
