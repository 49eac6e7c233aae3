"""Points of four coordinates, their largest one, and their sum (with gaps)."""

import numpy as np
import tensorflow_datasets as tfds

SIZES = {"train": 40, "validation": 16, "test": 12}


class TinyPoints(tfds.core.GeneratorBasedBuilder):
    """Builder of `tiny_points`."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "point": tfds.features.Tensor(shape=(4,), dtype=np.float32),
            "kind": tfds.features.ClassLabel(num_classes=4),
            "total": tfds.features.Scalar(dtype=np.float32),
            "total_mask": tfds.features.Scalar(dtype=np.bool_),
            "unused": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        seeds = enumerate(SIZES)
        return {split: self._generate_examples(seed, split) for seed, split in seeds}

    def _generate_examples(self, seed, split):
        points = np.random.default_rng(seed).normal(size=(SIZES[split], 4))
        for index, point in enumerate(points.astype("float32")):
            labelled = index % 3 > 0
            yield (
                index,
                {
                    "point": point,
                    "kind": int(point.argmax()),
                    # A wrong label where the mask says that there is none.
                    "total": point.sum() if labelled else 1e6,
                    "total_mask": labelled,
                    "unused": "text",
                },
            )
