"""One small model with every kind of input, and one export of it."""

import keras
import pytest

from keras_mtl.export import export_saved_model
from tests.export.samples import make_model


@pytest.fixture(scope="session")
def model():
    keras.utils.set_random_seed(0)
    return make_model()


@pytest.fixture(scope="session")
def exported(model, tmp_path_factory):
    """Path of an exported version that tests only read."""
    return export_saved_model(model, tmp_path_factory.mktemp("models") / "shapes")


@pytest.fixture
def copied(exported, tmp_path):
    """Path of a copy that a test may damage."""
    import shutil

    return shutil.copytree(exported, tmp_path / "shapes" / "1")
