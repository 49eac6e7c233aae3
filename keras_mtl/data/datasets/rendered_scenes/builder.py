"""The `tensorflow_datasets` builder of `rendered_scenes`."""

import dataclasses
import hashlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data import fetcher
from keras_mtl.data.datasets.rendered_scenes import meshes
from keras_mtl.data.datasets.rendered_scenes.renderer import Renderer
from keras_mtl.data.datasets.rendered_scenes.scene import (
    SIDE,
    SPLITS,
    SURFACES,
    draw_scene,
    split_toys,
)
from keras_mtl.utils.checks import check_count

NUM_TOYS = 1000
# Of the OBJ files of the toys, in the order of their names, one after the other.
TOYS_SHA256 = "6fbfc42809079c6bfdb238cb4504accaa315fa7f1da1f4a7b048e42263280de9"

_CARD = """\
SYNTHETIC: rooms that a computer has drawn and rendered, no photographs. From one to
eight objects of random kind, size, colour and place stand on the floor of a room, seen
by a camera at a random place under a random light; 64x64 pixels. Three tasks on one
image: which surface each pixel shows ("surface": floor, wall, box, ball, cylinder, cone
or toy), how far away it is ("depth"), and how many objects there are ("count").

Source: made by this builder with the software renderer (TinyRenderer, on the CPU) of
the pip package pybullet 3.2.7; "toy" objects are the 1,000 random meshes that it ships
(pybullet_data/random_urdfs). Box, ball, cylinder and cone are computed. Nothing else is
downloaded. How many scenes there are, and the seed, are the configuration
(`ScenesConfig`); scene n of a split is the same however many there are.

Licence: pybullet, its meshes included, is zlib.

Splits: every scene is drawn for itself. The toys are divided before, 700 for train, 100
for validation and 200 for test: no toy mesh is in two splits. Boxes, balls, cylinders
and cones of all splits have sizes from the same ranges.

Labels: "surface" has the index of the class of every pixel. "instance" is 0 in the
room, and from 1 the number of the object. "depth" is in metres along the camera's axis
(as of a depth camera, not along the ray), at the centre of the pixel, to the
millimetre. "count" is the number of objects of which at least 16 pixels show, 0 to 8;
smaller pieces are labelled in "surface" and "instance" nevertheless.

Leaks and limits: no textures, no shadows, no noise, no reflections, edges without
antialiasing: what is learnt here will not serve on photographs, and the numbers
compare methods only. Colours say nothing about the kind. The camera's angle of view
(50 degrees) and the sizes of objects are the same in all splits, so depth from one
image is easier than in the world. Surface and count are related by construction (both
see objects), depth and surface through the floor. Do not use "instance" as an input.
The renderer computes with floating-point numbers: on one machine the files are the same
every time, on another single pixels may differ.
"""

_CITATION = """\
@misc{coumans2016pybullet,
  title={PyBullet, a Python module for physics simulation for games, robotics and
         machine learning},
  author={Coumans, Erwin and Bai, Yunfei},
  year={2016--2021}, howpublished={\\url{http://pybullet.org}}
}
"""


@dataclasses.dataclass(eq=False, kw_only=True)
class ScenesConfig(tfds.core.BuilderConfig):
    """How many scenes each split has, and the seed; the name says both.

    Args:
        train: Number of scenes for training.
        validation: Number of scenes for validation.
        test: Number of scenes for the test.
        seed: Seed of everything that is drawn, 0 or more.

    Raises:
        ValueError: If a number of scenes is not a positive integer, or the seed is
            negative.

    Example:

    >>> ScenesConfig(train=20_000, seed=7).name
    '20000-500-1000-seed-7'
    """

    name: str = ""
    train: int = 4000
    validation: int = 500
    test: int = 1000
    seed: int = 0

    def __post_init__(self):
        counts = [check_count(split, getattr(self, split)) for split in SPLITS]
        check_count("seed", self.seed, 0)
        # Files of one name are never those of other numbers.
        self.name = "-".join(map(str, counts)) + f"-seed-{self.seed}"


def load_toys() -> list[meshes.Mesh]:
    """Reads the 1,000 meshes, fetching their package if need be.

    Returns:
        The meshes; the largest distance of a vertex from the centre is 1.

    Raises:
        ValueError: If their files are not those that are known.

    Example (downloads 103 MB if pybullet is neither installed nor cached):

    ```python
    toys = load_toys()
    ```
    """
    files = fetcher.read_files("pybullet", "pybullet_data/random_urdfs/*.obj")
    texts = [files[path] for path in sorted(files)]
    digest = hashlib.sha256(b"".join(texts)).hexdigest()
    if digest != TOYS_SHA256:
        raise ValueError(
            f"Expected the {NUM_TOYS:,} meshes of pybullet 3.2.7, sha256={TOYS_SHA256}."
            f" Received: {len(texts):,} meshes, sha256={digest}. Install the package "
            "again: `pip install --force-reinstall pybullet==3.2.7`"
        )
    return [meshes.from_obj(text.decode("ascii")) for text in texts]


class RenderedScenes(tfds.core.GeneratorBasedBuilder):
    """Builder of `rendered_scenes`; its card is `builder.info.description`.

    Example (prepares 33 MB below the data folder of TFDS at the first call, in
    about a minute):

    ```python
    import tensorflow_datasets as tfds
    from keras_mtl.data.datasets.rendered_scenes import ScenesConfig

    train = tfds.load("rendered_scenes", split="train")
    config = ScenesConfig(train=20_000)
    more = tfds.load("rendered_scenes", builder_kwargs={"config": config})["train"]
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Surface, depth and count of synthetic rooms."}
    BUILDER_CONFIGS = [ScenesConfig()]

    def __init__(self, *, config: str | ScenesConfig | None = None, **kwargs):
        # TFDS refuses a configuration that only equals the one above.
        if isinstance(config, ScenesConfig):
            known = {default.name: default for default in self.BUILDER_CONFIGS}
            config = known.get(config.name, config)
        super().__init__(config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        square = (SIDE, SIDE)
        features = {
            "image": tfds.features.Image(shape=(*square, 3), encoding_format="png"),
            "surface": tfds.features.LabeledImage(
                labels=list(SURFACES), shape=(*square, 1), encoding_format="png"
            ),
            "instance": tfds.features.Image(shape=(*square, 1), encoding_format="png"),
            "depth": tfds.features.Tensor(
                shape=square, dtype=np.float32, encoding=tfds.features.Encoding.ZLIB
            ),
            "count": tfds.features.Scalar(dtype=np.int64),
            "scene": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_CARD,
            features=tfds.features.FeaturesDict(features),
            citation=_CITATION,
            license="pybullet: zlib",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # renderer and meshes come out of a pip package
        toys = load_toys()
        parts = split_toys(len(toys), self.builder_config.seed)
        return {
            split: self._generate_examples(split, toys, parts[split])
            for split in SPLITS
        }

    def _generate_examples(
        self, split: str, toys: list[meshes.Mesh], numbers: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        config = self.builder_config
        with Renderer(toys) as renderer:
            for number in range(getattr(config, split)):
                scene = draw_scene(toys, numbers, split, number, config.seed)
                yield number, renderer.render(scene) | {"scene": number}
