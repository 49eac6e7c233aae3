"""`tensorflow_datasets` builders over the data files that packages ship.

Importing this package registers them, so that `tfds.load` finds them by name:

```python
import tensorflow_datasets as tfds
import keras_mtl.data.datasets

train = tfds.load("digits_on_canvas", split="train")
```
"""

from keras_mtl.data.datasets.digits_on_canvas import DigitsOnCanvas

__all__ = ["DigitsOnCanvas"]
