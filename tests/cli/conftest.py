"""A prepared dataset, a configuration for it, and the command."""

import copy

import keras
import pytest
import yaml

from keras_mtl.cli.main import main

CONFIG = {
    "name": "points",
    "seed": 3,
    "data": {"dataset": "tiny_points", "inputs": "point", "batch_size": 16},
    "backbone": {
        "class_name": "mlp",
        "config": {"input_shape": [4], "units": [8], "dropout": 0.25},
    },
    "tasks": [
        {
            "name": "kind",
            "head": {"class_name": "Classification", "config": {"num_classes": 4}},
        },
        {"name": "total", "head": "regression", "loss_weight": 0.5},
    ],
    "compile": {
        "optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.01}},
        "loss_weighting": "uncertainty",
        "balancer": "pcgrad",
    },
    "fit": {"epochs": 2, "verbose": 0},
}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """The folder with the prepared dataset."""
    from tests.cli.tiny_points import TinyPoints

    folder = tmp_path_factory.mktemp("datasets")
    TinyPoints(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture
def config():
    """The configuration as a dict of one's own."""
    return copy.deepcopy(CONFIG)


@pytest.fixture(scope="session")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("configuration") / "points.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.fixture(scope="session")
def train(config_file, data_dir):
    """Runs `keras-mtl train` on the tiny dataset; returns the exit status."""

    def command(folder, *settings, options=()):
        words = [word for setting in settings for word in ("--set", setting)]
        places = ("--output", folder, "--data-dir", data_dir)
        return main([*map(str, ("train", config_file, *places)), *words, *options])

    return command


@pytest.fixture(scope="session")
def whole_run(train, tmp_path_factory):
    """The folder of a run of three epochs that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train(folder, "fit.epochs=3") == 0
    return folder


@pytest.fixture
def weights_of():
    """What a saved model holds: weights, states of optimizer and methods."""

    def read(path):
        model = keras.saving.load_model(path)
        state = model._step.state.named_variables().values()
        variables = [*model.weights, *model.optimizer.variables, *state]
        tensors = [keras.ops.convert_to_tensor(variable) for variable in variables]
        return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]

    return read
