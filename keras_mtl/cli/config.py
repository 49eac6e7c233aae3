"""The configuration file of a run: YAML or TOML, read into small dataclasses.

Nothing here knows a head, a balancer or an optimizer: the file names them, and their
registries know them. Errors say the file and the line.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from keras_mtl.utils.checks import check_count
from keras_mtl.utils.config_errors import ConfigError, Source, at, check_keys
from keras_mtl.utils.config_file import COMPONENT_KEYS, change, read_file
from keras_mtl.utils.config_sections import (
    check_mapping,
    count_at,
    parse_section,
    string_at,
)

_SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The keys of the part `data.text`.

    Args:
        preset: Preset or folder of the tokenizer, or the name of a network that a
            package ships (`minilm-l6`).
        sequence_length: Number of tokens of every text.
        tags: Names of labels with a class per word; the input is then the words.
        word_mask: Whether the model takes the input `"word_mask"`.
    """

    preset: str
    sequence_length: int = 128
    tags: Any = ()
    word_mask: bool = False

    def __post_init__(self):
        string_at("preset", self.preset)
        count_at("sequence_length", self.sequence_length)
        with at("tags"):
            tags = [self.tags] if isinstance(self.tags, str) else list(self.tags)
            if not all(isinstance(tag, str) for tag in tags):
                raise ValueError(
                    "Expected `tags` to be a list of names of labels. "
                    f"Received: tags={self.tags!r}"
                )
            object.__setattr__(self, "tags", tags)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What to train on: a dataset of `tensorflow_datasets`, or one's own files.

    Args:
        dataset: Name for `tfds.load`.
        schema: Instead of `dataset`: a schema file, see `keras_mtl.data.read_schema`.
            Its path is relative to the working folder.
        skip_bad_rows: Leave out bad rows of one's own files, instead of stopping.
        inputs: Name of the input feature, or a list of names for a dict of inputs.
            Default: `image` of a dataset, all inputs of a schema.
        batch_size: Number of examples of a (global) batch.
        splits: `train`, `validation` and `test`, as TFDS splits such as
            `"train[:90%]"`, or names of splits of the schema. `null` for validation:
            there is none.
        buffer_size: `null` keeps the training examples in memory; a number streams
            them, and shuffles in pieces of so many.
        text: How the input, texts or words, becomes tokens for a text backbone: the
            fields of `TextConfig`.
    """

    dataset: str | None = None
    schema: str | None = None
    skip_bad_rows: bool = False
    inputs: str | list[str] | None = None
    batch_size: int = 64
    splits: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    buffer_size: int | None = None
    text: Any = None

    def __post_init__(self):
        if (self.dataset is None) == (self.schema is None):
            raise ValueError(
                "Expected `data` to have one of the keys `dataset` and `schema`. "
                f"Received: dataset={self.dataset!r}, schema={self.schema!r}"
            )
        for name in ("dataset", "schema"):
            if getattr(self, name) is not None:
                string_at(name, getattr(self, name))
        if self.dataset is not None and self.inputs is None:
            object.__setattr__(self, "inputs", "image")
        if self.inputs is not None:
            self._check_inputs()
        count_at("batch_size", self.batch_size)
        if self.buffer_size is not None:
            count_at("buffer_size", self.buffer_size)
        if self.text is not None:
            with at("text"):
                parsed = parse_section(TextConfig, self.text, name="text")
            object.__setattr__(self, "text", _plain(parsed))
        with at("splits"):
            splits = check_mapping("splits", self.splits)
            check_keys("splits", splits, _SPLITS)
            splits = dict(zip(_SPLITS, _SPLITS, strict=True)) | splits
            for name, split in splits.items():
                if split is not None or name == "train":
                    string_at(name, split)
            object.__setattr__(self, "splits", splits)

    def _check_inputs(self):
        with at("inputs"):
            names = self.inputs if isinstance(self.inputs, list) else [self.inputs]
            if not names or not all(isinstance(name, str) for name in names):
                raise ValueError(
                    "Expected `inputs` to be the name of a feature, or a list of "
                    f"names. Received: inputs={self.inputs!r}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """The arguments of `keras_mtl.Task`, which checks them.

    Args:
        name: Name of the task.
        head: Name or configuration of a head.
        loss: Name or configuration of a Keras loss.
        metrics: List of names or configurations of Keras metrics.
        loss_weight: Factor on the loss.
        class_weight: Dict from class to the weight of its examples.
        missing: Label value that means "not labelled".
        label: Name of the feature that holds the labels (default: the name).
        feature: Name of the backbone's feature that the head takes.
    """

    name: str
    head: Any
    loss: Any = None
    metrics: Any = None
    loss_weight: float = 1.0
    class_weight: dict | None = None
    missing: Any = None
    label: str | None = None
    feature: str | None = None

    def __post_init__(self):
        string_at("name", self.name)
        _normalise(self, "head", required=True)
        _normalise(self, "loss")
        if self.metrics is not None:
            with at("metrics"):
                if not isinstance(self.metrics, list):
                    raise ValueError(
                        "Expected `metrics` to be a list. "
                        f"Received: metrics={self.metrics!r}"
                    )
                metrics = [_component("metrics", value) for value in self.metrics]
                object.__setattr__(self, "metrics", metrics)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompileConfig:
    """The arguments of `MultiTaskModel.compile`, which checks them.

    Losses and metrics belong to the tasks.

    Args:
        optimizer: Name or configuration of a Keras optimizer.
        loss_weighting: Name or configuration of a loss weighting.
        balancer: Name or configuration of a gradient balancer.
        balancing: Fields of `BalancingOptions`.
        loss_weights: Dict from task name to a factor on its loss.
        learning_rate_multipliers: Dict from `"backbone"`, a task or a layer to a
            factor on its learning rate.
        weight_decay_multipliers: The same for the weight decay.
        run_eagerly: As in Keras.
        steps_per_execution: As in Keras.
        jit_compile: As in Keras, but `"auto"` means off.
        auto_scale_loss: As in Keras.
    """

    optimizer: Any = "adam"
    loss_weighting: Any = None
    balancer: Any = None
    balancing: dict | None = None
    loss_weights: Any = None
    learning_rate_multipliers: dict | None = None
    weight_decay_multipliers: dict | None = None
    run_eagerly: bool = False
    steps_per_execution: int = 1
    jit_compile: bool | str = "auto"
    auto_scale_loss: bool = True

    def __post_init__(self):
        _normalise(self, "optimizer", required=True)
        _normalise(self, "loss_weighting")
        _normalise(self, "balancer")
        for name in (
            "balancing",
            "learning_rate_multipliers",
            "weight_decay_multipliers",
        ):
            if getattr(self, name) is not None:
                with at(name):
                    check_mapping(name, getattr(self, name))
        count_at("steps_per_execution", self.steps_per_execution)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How long to train.

    Args:
        epochs: Number of epochs of the whole run.
        steps_per_epoch: Number of batches of an epoch, if that is not one pass over
            the data.
        verbose: Keras' progress bar: `"auto"`, 0, 1, or 2 (one line per epoch).
    """

    epochs: int = 1
    steps_per_epoch: int | None = None
    verbose: int | str = "auto"

    def __post_init__(self):
        count_at("epochs", self.epochs)
        if self.steps_per_epoch is not None:
            count_at("steps_per_epoch", self.steps_per_epoch)
        with at("verbose"):
            if self.verbose not in ("auto", 0, 1, 2):
                raise ValueError(
                    "Expected `verbose` to be 'auto', 0, 1 or 2. "
                    f"Received: verbose={self.verbose!r}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A training run.

    Args:
        name: Name of the model and of the run.
        data: The data.
        backbone: Configuration of a backbone, or a dict from task name to one.
        tasks: The tasks.
        architecture: Name or configuration of an architecture.
        backbone_trainable: What of the backbone is trained: all (true), nothing, the
            last stages (a number), or layers by name.
        compile: The arguments of `compile`.
        fit: The arguments of `fit`.
        seed: Seed of the initial values and of the order of the examples.
        dtype_policy: Keras' dtype policy, for example `"mixed_bfloat16"`.
        source: Where it was read; does not count in comparisons.
    """

    name: str
    data: DataConfig
    backbone: Any
    tasks: tuple[TaskConfig, ...]
    architecture: Any = "hard"
    backbone_trainable: Any = True
    compile: CompileConfig = dataclasses.field(default_factory=CompileConfig)
    fit: FitConfig = dataclasses.field(default_factory=FitConfig)
    seed: int = 0
    dtype_policy: str = "float32"
    source: Source = dataclasses.field(
        default=Source("configuration"), compare=False, repr=False
    )

    def __post_init__(self):
        string_at("name", self.name)
        with at("name"):
            if not self.name or "/" in self.name:
                raise ValueError(
                    "Expected `name` to be a non-empty string without '/'. "
                    f"Received: name={self.name!r}"
                )
        _section(self, "data", DataConfig)
        _section(self, "compile", CompileConfig)
        _section(self, "fit", FitConfig)
        _normalise(self, "architecture", required=True)
        with at("backbone"):
            object.__setattr__(self, "backbone", _backbone(self.backbone))
        with at("tasks"):
            object.__setattr__(self, "tasks", _tasks(self.tasks))
        with at("seed"):
            if check_count("seed", self.seed, 0) >= 2**32:
                raise ValueError(
                    f"Expected `seed` to be below 2**32. Received: seed={self.seed}"
                )
        string_at("dtype_policy", self.dtype_policy)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values; `None` is left out, defaults are in."""
        tree = _plain(self)
        del tree["source"]
        tree["tasks"] = [_plain(task) for task in self.tasks]
        for name in ("data", "compile", "fit"):
            tree[name] = _plain(getattr(self, name))
        return tree

    def to_yaml(self) -> str:
        """The text of a file that reads back as this configuration."""
        return yaml.safe_dump(
            self.to_dict(), sort_keys=False, default_flow_style=None, allow_unicode=True
        )


def read_config(file: str | os.PathLike, settings: Sequence[str] = ()) -> Config:
    """Reads a configuration file.

    Args:
        file: A `.yaml`, `.yml` or `.toml` file.
        settings: Changes, each `"path.to.key=value"`; the value is YAML. A list is
            entered by index or by the `name` of an entry, and a part that is named
            by a string by the arguments it takes: `"tasks.box.loss_weight=2"`,
            `"compile.balancer.c=0.5"`.

    Returns:
        The configuration.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or does not describe a run. The message names
            the file and, as far as it is known, the line.

    Example:

    ```python
    config = read_config("examples/digits.yaml", ["fit.epochs=1"])
    config.fit.epochs  # 1
    ```
    """
    file = os.fspath(file)
    tree, lines = read_file(file)
    for setting in settings:
        path = change(tree, setting)
        lines = {p: n for p, n in lines.items() if p[: len(path)] != path}
    source = Source(file, lines)
    try:
        with at():
            return parse_section(Config, tree, name="the file", more={"source": source})
    except ConfigError as error:
        raise source.located(error) from error


def _plain(section):
    """The fields of a section that are not `None`, values as they are.

    Unlike `dataclasses.asdict` this copies nothing, so that a backbone that two tasks
    share by a YAML anchor stays one.
    """
    fields = {f.name: getattr(section, f.name) for f in dataclasses.fields(section)}
    return {name: value for name, value in fields.items() if value is not None}


def _section(owner, name, cls):
    value = getattr(owner, name)
    if not isinstance(value, cls):
        with at(name):
            object.__setattr__(owner, name, parse_section(cls, value, name=name))


def _tasks(tasks):
    if not isinstance(tasks, list | tuple):
        raise ValueError(f"Expected `tasks` to be a list. Received: tasks={tasks!r}")
    parsed = []
    for index, task in enumerate(tasks):
        with at(index):
            if not isinstance(task, TaskConfig):
                task = parse_section(TaskConfig, task, name="task")
            parsed.append(task)
    return tuple(parsed)


def _backbone(value):
    if not isinstance(value, dict) or "class_name" in value:
        return _component("backbone", value)
    per_task, made = {}, {}
    for task, part in value.items():
        with at(task):
            # One object (a YAML anchor) stays one: the tasks share this backbone.
            if id(part) not in made:
                made[id(part)] = _component("backbone", part)
            per_task[task] = made[id(part)]
    return per_task


def _normalise(owner, name, required=False):
    value = getattr(owner, name)
    if value is not None or required:
        with at(name):
            object.__setattr__(owner, name, _component(name, value))


def _component(name, value):
    """A name, or a dict with `class_name` and `config`."""
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
        raise ValueError(
            f"Expected `{name}` to be a name or {{class_name: …, config: {{…}}}}. "
            f"Received: {name}={value!r}"
        )
    check_keys(name, value, COMPONENT_KEYS)
    config = value.get("config")
    with at("config"):
        config = {} if config is None else check_mapping("config", config)
    return {**value, "config": config}
