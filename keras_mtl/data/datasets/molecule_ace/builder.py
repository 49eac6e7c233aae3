"""The `tensorflow_datasets` builder of `molecule_ace`."""

import csv
import io
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data import digests, fetcher

# One per file of the package: target of ChEMBL, and what was measured.
TARGETS = tuple(path.rsplit("/", 1)[-1][:-4] for path in digests.MOLECULE_ACE)
_SHARES = (0.7, 0.8)  # where validation and test begin
_SEED = 20243

_CARD = """\
MoleculeACE: how strongly 35,633 small molecules bind to (Ki) or act on (EC50) 30
targets, mostly receptors and enzymes, collected from ChEMBL. Thirty regression tasks on
one molecule, of which most are not labelled: 48,714 of the 1,068,990 entries are there
(4.56 %); 26,126 molecules have one label, 6,722 two, 2,785 three to nine.

Source: the 30 files CHEMBL*.csv that the pip package MoleculeACE 3.0.0 ships; nothing
else is downloaded.

Licence: MoleculeACE is MIT; ChEMBL is CC BY-SA 3.0.

Splits: by molecule, at random, 70, 10 and 20 %, so that no molecule is in two of them.
The package's own split is NOT used: it is made target by target, and 3,545 molecules
are in its train part for one target and in its test part for another, which a model of
all targets would have seen. Figures are therefore not comparable with those published
for the package's split. "molecule" is the place among all molecules, sorted by SMILES.

Labels: "activity" has the shape (30,), in the order of
`keras_mtl.data.datasets.molecule_ace.TARGETS`: minus the decimal logarithm of the
concentration in nanomolar, so more is stronger; NaN is not measured. A target has 615
to 3,657 labels.

Leaks and limits: molecules come in series of near relatives, which a random split puts
on both sides, so test errors are lower than for a new series; compare models with each
other. The set was made for activity cliffs, near relatives of unlike activity. 38 pairs
of molecules differ in the marks of their stereochemistry only; both of a pair may be in
different splits. The measurements come from many laboratories.
"""

_CITATION = """\
@article{vantilborg2022exposing,
  title={Exposing the Limitations of Molecular Machine Learning with Activity Cliffs},
  author={van Tilborg, Derek and Alenicheva, Alisa and Grisoni, Francesca},
  journal={Journal of Chemical Information and Modeling},
  volume={62}, number={23}, pages={5938--5951}, year={2022}
}
"""


def load_table() -> dict[str, np.ndarray]:
    """Reads all measurements, fetching their package if need be.

    Returns:
        "smiles" `(35633,)` objects, sorted, "activity" `(35633, 30)` float32, `NaN`
        where nothing was measured, and "molecule" `(35633,)` int64, the row.

    Raises:
        ValueError: If a file lacks a column or measures a molecule twice.

    Example (downloads 1.1 MB if MoleculeACE is neither installed nor cached):

    ```python
    table = load_table()
    np.isfinite(table["activity"]).mean()  # 0.0456
    ```
    """
    files = fetcher.read_files(
        "MoleculeACE", "MoleculeACE/Data/benchmark_data/CHEMBL*.csv"
    )
    measured = [_read(path, content) for path, content in files.items()]
    smiles = sorted(set().union(*measured))
    place = {molecule: index for index, molecule in enumerate(smiles)}
    activity = np.full((len(smiles), len(measured)), np.nan, np.float32)
    for target, values in enumerate(measured):
        rows = [place[molecule] for molecule in values]
        activity[rows, target] = list(values.values())
    return {
        "smiles": np.array(smiles, object),
        "activity": activity,
        "molecule": np.arange(len(smiles)),
    }


def _read(path, content):
    """Activity by molecule, of one file."""
    rows = csv.DictReader(io.StringIO(content.decode("ascii")))
    missing = {"smiles", "y"} - set(rows.fieldnames or ())
    if missing:
        raise ValueError(
            f"Expected the columns 'smiles' and 'y' in {path}. "
            f"Received: columns={rows.fieldnames}"
        )
    values = {}
    for row in rows:
        if row["smiles"] in values:
            raise ValueError(
                f"Expected every molecule once in {path}. "
                f"Received twice: smiles={row['smiles']!r}"
            )
        values[row["smiles"]] = float(row["y"])
    return values


def split_molecules(count: int) -> dict[str, np.ndarray]:
    """Divides the molecules at random: 70, 10 and 20 %.

    Args:
        count: Number of molecules.

    Returns:
        Rows by split, in random order: train, validation, test.

    Example:

    >>> parts = split_molecules(1000)
    >>> {name: len(rows) for name, rows in parts.items()}
    {'train': 700, 'validation': 100, 'test': 200}
    """
    # RandomState: NumPy promises that its stream never changes.
    order = np.random.RandomState(_SEED).permutation(count)
    parts = np.split(order, [int(count * share) for share in _SHARES])
    return dict(zip(("train", "validation", "test"), parts, strict=True))


class MoleculeACE(tfds.core.GeneratorBasedBuilder):
    """Builder of `molecule_ace`; its card is `builder.info.description`.

    Example (prepares about 10 MB below the data folder of TFDS at the first call):

    ```python
    import tensorflow_datasets as tfds
    import keras_mtl.data.datasets

    dataset, info = tfds.load("molecule_ace", split="train", with_info=True)
    ```
    """

    name = "molecule_ace"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Thirty targets, split by molecule."}

    def _info(self) -> tfds.core.DatasetInfo:
        shape = (len(TARGETS),)
        features = {
            "smiles": tfds.features.Text(),
            "activity": tfds.features.Tensor(shape=shape, dtype=np.float32),
            "molecule": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_CARD,
            features=tfds.features.FeaturesDict(features),
            citation=_CITATION,
            license="MoleculeACE: MIT; data: ChEMBL, CC BY-SA 3.0",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the files come out of a pip package
        table = load_table()
        return {
            split: self._generate_examples(table, rows)
            for split, rows in split_molecules(len(table["molecule"])).items()
        }

    def _generate_examples(
        self, table: dict[str, np.ndarray], rows: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        for row in rows.tolist():
            yield row, {name: values[row] for name, values in table.items()}
