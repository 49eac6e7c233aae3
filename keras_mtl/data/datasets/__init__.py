"""`tensorflow_datasets` builders over the data files that packages ship.

Importing this package registers them, so that `tfds.load` finds them by name:

```python
import tensorflow_datasets as tfds
import keras_mtl.data.datasets

train = tfds.load("digits_on_canvas", split="train")
```
"""

from keras_mtl.data.datasets.brown_corpus import BrownCorpus
from keras_mtl.data.datasets.census_income import CensusIncome
from keras_mtl.data.datasets.digits_on_canvas import DigitsOnCanvas
from keras_mtl.data.datasets.home_assistant_intents import HomeAssistantIntents
from keras_mtl.data.datasets.message_catalogues import MessageCatalogues
from keras_mtl.data.datasets.molecule_ace import MoleculeACE
from keras_mtl.data.datasets.movielens_100k import MovieLens100K
from keras_mtl.data.datasets.multi_fashion import MultiFashion
from keras_mtl.data.datasets.multi_mnist import MultiMNIST
from keras_mtl.data.datasets.rendered_scenes import RenderedScenes
from keras_mtl.data.datasets.river_flow_rf1 import RiverFlowRF1
from keras_mtl.data.datasets.womens_clothing import WomensClothing

__all__ = [
    "BrownCorpus",
    "CensusIncome",
    "DigitsOnCanvas",
    "HomeAssistantIntents",
    "MessageCatalogues",
    "MoleculeACE",
    "MovieLens100K",
    "MultiFashion",
    "MultiMNIST",
    "RenderedScenes",
    "RiverFlowRF1",
    "WomensClothing",
]
