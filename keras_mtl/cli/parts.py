"""What a configuration names: the model, the data; and the table of results."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_mtl import architectures, backbones, balancers, data, heads, weightings
from keras_mtl.cli import texts
from keras_mtl.cli.config import CompileConfig, Config, DataConfig, TaskConfig
from keras_mtl.data import loaders
from keras_mtl.plots.tables import comparison_table, text_table
from keras_mtl.task import Task
from keras_mtl.training import BalancingOptions, MultiTaskModel, build_model
from keras_mtl.utils.config_errors import ConfigError, at, check_keys, nearest


def make_model(config: Config) -> MultiTaskModel:
    """The model of a configuration, compiled.

    Args:
        config: The configuration.

    Returns:
        The model. Call this inside the scope of the strategy.

    Raises:
        ConfigError: If a part does not exist, or parts do not go together.
    """
    tasks = []
    for index, task in enumerate(config.tasks):
        with at("tasks", index):
            tasks.append(_task(task))
    with at("architecture"):
        architecture = architectures.get(config.architecture)
    with at("backbone"):
        backbone = _backbone(config.backbone)
    if config.data.text is not None:
        texts.preprocessor(config.data.text, backbone)  # Raises if they do not fit.
    with at():
        model = build_model(
            backbone,
            tasks,
            architecture=architecture,
            backbone_trainable=config.backbone_trainable,
            name=config.name,
        )
    with at("compile"):
        model.compile(**_compile_arguments(config.compile))
    return model


def load_split(
    config: DataConfig, split: str, data_dir: str | os.PathLike | None = None
) -> tf.data.Dataset:
    """The examples of a split, as dicts of features, always in the same order.

    The dataset is prepared first if need be; one's own files are checked.

    Args:
        config: The data part of a configuration.
        split: `"train"`, `"validation"` or `"test"`, or a split of TFDS or the schema.
        data_dir: Folder of the prepared datasets; that of TFDS by default.

    Returns:
        A `tf.data.Dataset`, not batched.

    Raises:
        ConfigError: If there is no such dataset, schema or split, or a row is bad.
    """
    wanted = config.splits.get(split, split)
    if wanted is None:
        raise ConfigError(
            ("data", "splits", split), f"The configuration has no {split} split"
        )
    if config.dataset is None:
        return _load_files(config, split, wanted)
    with at("data", "dataset"):
        builder = dataset_builder(config.dataset, data_dir)
    builder.download_and_prepare()
    with at("data", "splits", split):
        return builder.as_dataset(split=wanted, shuffle_files=False)


def dataset_builder(name: str, data_dir: str | os.PathLike | None = None) -> Any:
    """The builder of a dataset of `keras-mtl data list`, or of any other for `tfds`.

    Args:
        name: Name of the dataset.
        data_dir: Folder of the prepared datasets; that of TFDS by default.

    Raises:
        ValueError: If there is no such dataset; it names the nearest.
    """
    import tensorflow_datasets as tfds

    import keras_mtl.data.datasets  # noqa: F401  (registers the builders)

    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        raise ValueError(
            "Expected a dataset of `keras-mtl data list`, or one of "
            f"tensorflow_datasets. Received: dataset={name!r}.{nearest(name, known)}"
        ) from error


def _load_files(config, split, wanted):
    """The examples of one's own files; says what a user should know of them."""
    with at("data", "schema"):
        schema = loaders.read_schema(config.schema)
    with at("data", "splits", split):
        loaded = loaders.load_split(schema, wanted, skip_bad_rows=config.skip_bad_rows)
    for note in loaded.notes:
        print(note)
    return loaded.dataset


def _inputs(config):
    """Name of the input, or names of several."""
    if config.inputs is not None:
        return config.inputs
    return loaders.read_schema(config.schema).input_names


def labelled(
    dataset: tf.data.Dataset, config: DataConfig, tasks: Sequence[Task]
) -> tf.data.Dataset:
    """Pairs `(x, y)` for `fit`, out of batches of examples.

    Args:
        dataset: Dataset of dicts of features.
        config: The data part of a configuration.
        tasks: The tasks; `y` has their labels, and their masks where the dataset
            has a feature of that name.

    Returns:
        Dataset of `(x, y)`, prefetched.

    Raises:
        ConfigError: If the dataset has no feature of a name.
    """
    labels = list(dict.fromkeys(str(task.label) for task in tasks))
    masks = dict.fromkeys(task.mask_key for task in tasks)
    labels += [mask for mask in masks if mask in dataset.element_spec]
    with at("data"):
        paired = data.pairs(dataset, _inputs(config), labels)
    if config.text is not None:
        paired = texts.tokenised(paired, config.text)
    return paired.prefetch(tf.data.AUTOTUNE)


def features_of(
    dataset: tf.data.Dataset, config: DataConfig, tasks: Sequence[Task]
) -> tf.data.Dataset:
    """The examples with those features only that `labelled` reads."""
    inputs = _inputs(config)
    inputs = [inputs] if isinstance(inputs, str) else inputs
    used = {*inputs}.union(*([task.label, task.mask_key] for task in tasks))
    return dataset.map(lambda example: {k: v for k, v in example.items() if k in used})


def read_keras_file(path: str, *, compile: bool) -> keras.Model:
    """The model of a `.keras` file.

    Raises:
        ValueError: If there is no such file or it is damaged. The message names it.
    """
    if not os.path.isfile(path):
        raise ValueError(f"Expected a file that `model.save` wrote. Received: {path!r}")
    try:
        return keras.saving.load_model(path, compile=compile)
    # A damaged archive fails in many ways: zip, JSON, HDF5, missing keys.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            "Cannot load the model: the file is damaged, or no `.keras` file. "
            f"Received: {path!r} ({type(error).__name__}: {reason[0]})"
        ) from error


def load_model(path: str | os.PathLike) -> MultiTaskModel:
    """The compiled model of a `.keras` file.

    Raises:
        ValueError: As `read_keras_file`, or if the model is not multi-task or not
            compiled.
    """
    path = os.fspath(path)
    model = read_keras_file(path, compile=True)
    if not isinstance(model, MultiTaskModel) or not model.compiled:
        raise ValueError(
            "Expected a compiled model of `keras_mtl.build_model`. Received: "
            f"{path!r}, a {type(model).__name__}, compiled={model.compiled}"
        )
    return model


def results_table(values: Mapping[str, Mapping[str, float]], column: str) -> str:
    """The values of `by_task` as text, a row per task and metric."""
    return text_table(comparison_table({column: values}, digits=4))


def _task(config: TaskConfig) -> Task:
    """The task of a configuration; names of losses and metrics stay names."""
    arguments = dict(vars(config))
    with at("head"):
        arguments["head"] = heads.get(config.head)
    if isinstance(config.loss, dict):
        with at("loss"):
            arguments["loss"] = keras_object("loss", config.loss)
    if config.metrics is not None:
        arguments["metrics"] = list(config.metrics)
    for index, metric in enumerate(config.metrics or []):
        if isinstance(metric, dict):
            with at("metrics", index):
                arguments["metrics"][index] = keras_object("metric", metric)
    return Task(**arguments)


def _backbone(config: Any) -> Any:
    """One backbone, or a dict from task name to one."""
    if isinstance(config, str) or "class_name" in config:
        return backbones.get(texts.with_folder(config))
    per_task, made = {}, {}
    for name, part in config.items():
        with at(name):
            if id(part) not in made:
                made[id(part)] = backbones.get(texts.with_folder(part))
        per_task[name] = made[id(part)]
    return per_task


def _compile_arguments(config: CompileConfig) -> dict[str, Any]:
    arguments = dict(vars(config))
    with at("optimizer"):
        arguments["optimizer"] = keras_object("optimizer", config.optimizer)
    with at("loss_weighting"):
        arguments["loss_weighting"] = weightings.get(config.loss_weighting)
    with at("balancer"):
        arguments["balancer"] = balancers.get(config.balancer)
    if config.balancing is not None:
        with at("balancing"):
            fields = [field.name for field in dataclasses.fields(BalancingOptions)]
            check_keys("balancing", config.balancing, fields)
            arguments["balancing"] = BalancingOptions(**config.balancing)
    return arguments


def keras_object(kind: str, identifier: Any) -> Any:
    """An object of Keras by the name of its class, in any case, or by configuration.

    Args:
        kind: `"optimizer"`, `"schedule"`, `"loss"` or `"metric"`.
        identifier: A name, or a dict with `class_name` and `config`. The learning
            rate of an optimizer may be the configuration of a schedule.

    Returns:
        The object.

    Raises:
        ValueError: For an unknown name, with the nearest one, or for arguments
            that the class does not take.

    Example:
    >>> type(keras_object("optimizer", "adamw")).__name__
    'AdamW'
    >>> keras_object("loss", {"class_name": "Huber", "config": {"delta": 2.0}}).name
    'huber_loss'
    """
    module, base = {
        "optimizer": (keras.optimizers, keras.optimizers.Optimizer),
        "schedule": (
            keras.optimizers.schedules,
            keras.optimizers.schedules.LearningRateSchedule,
        ),
        "loss": (keras.losses, keras.losses.Loss),
        "metric": (keras.metrics, keras.metrics.Metric),
    }[kind]
    part: dict[str, Any] = (
        {"class_name": identifier} if isinstance(identifier, str) else identifier
    )
    if "module" in part or "registered_name" in part:
        return keras.saving.deserialize_keras_object(part)
    classes = {
        name: cls
        for name, cls in vars(module).items()
        if isinstance(cls, type) and issubclass(cls, base) and cls is not base
    }
    name, config = part["class_name"], dict(part.get("config") or {})
    found = [cls for known, cls in classes.items() if known.lower() == _flat(name)]
    if not found:
        raise ValueError(
            f"Unknown {kind}. Expected one of {sorted(classes)}. "
            f"Received: {name!r}.{nearest(name, classes)}"
        )
    if kind == "optimizer" and isinstance(config.get("learning_rate"), dict):
        with at("config", "learning_rate"):
            rate = keras_object("schedule", config["learning_rate"])
            config["learning_rate"] = rate
    return found[0](**config)


def _flat(name):
    return name.replace("_", "").lower()
