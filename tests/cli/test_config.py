"""Configuration files: what is read, and how errors are told."""

import dataclasses
import inspect

import pytest
import yaml

import keras_mtl as mtl
from keras_mtl.cli.config import CompileConfig, TaskConfig, read_config
from keras_mtl.utils.config_file import change

TOML = """\
name = "points"
seed = 3
[backbone]
class_name = "mlp"
config = {input_shape = [4], units = [8], dropout = 0.25}
[data]
dataset = "tiny_points"
inputs = "point"
batch_size = 16
[[tasks]]
name = "kind"
head = {class_name = "Classification", config = {num_classes = 4}}
[[tasks]]
name = "total"
head = "regression"
loss_weight = 0.5
[compile]
optimizer = {class_name = "Adam", config = {learning_rate = 0.01}}
loss_weighting = "uncertainty"
balancer = "pcgrad"
[fit]
epochs = 2
verbose = 0
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="run.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_toml_says_the_same_as_yaml(config_file, write):
    assert read_config(write(TOML, "run.toml")) == read_config(config_file)


def test_what_is_written_reads_back(config_file, write):
    config = read_config(config_file, ["data.splits.validation=null"])
    assert read_config(write(config.to_yaml())) == config
    assert "pcgrad" in config.to_yaml()


def test_defaults_are_in_what_is_written(config_file):
    tree = read_config(config_file).to_dict()
    assert tree["architecture"] == "hard"
    assert tree["data"]["splits"]["test"] == "test"
    assert tree["compile"]["steps_per_execution"] == 1


def test_a_shared_backbone_stays_shared(config, write):
    config["backbone"] = dict.fromkeys(("kind", "total"), config["backbone"])
    written = read_config(write(yaml.safe_dump(config))).to_yaml()
    kind, total = yaml.safe_load(written)["backbone"].values()
    assert kind is total


def test_exponents_are_numbers(write, config):
    text = yaml.safe_dump(config).replace("0.01", "1e-3")
    read = read_config(write(text), ["tasks.kind.loss_weight=2E+1"])
    assert read.compile.optimizer["config"]["learning_rate"] == 1e-3
    assert read.tasks[0].loss_weight == 20.0


def test_task_has_the_fields_of_the_real_one():
    names = [field.name for field in dataclasses.fields(mtl.Task)]
    assert [field.name for field in dataclasses.fields(TaskConfig)] == names


def test_compile_has_the_arguments_of_the_real_one():
    arguments = set(inspect.signature(mtl.MultiTaskModel.compile).parameters)
    arguments -= {"self", "loss", "metrics", "weighted_metrics"}
    assert {field.name for field in dataclasses.fields(CompileConfig)} == arguments


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("fit.epochs=7", ("fit", "epochs"), 7),
        ("tasks.1.loss_weight=2", ("tasks", 1, "loss_weight"), 2),
        ("tasks.total.loss_weight=2", ("tasks", 1, "loss_weight"), 2),
        ("tasks.total.class_weight.3=2", ("tasks", 1, "class_weight", "3"), 2),
        ("compile.balancer=mgda", ("compile", "balancer"), "mgda"),
        ("compile.balancer.c=0.5", ("compile", "balancer", "config", "c"), 0.5),
        ("compile.balancer.config.c=1", ("compile", "balancer", "config", "c"), 1),
        ("backbone.units=[4, 4]", ("backbone", "config", "units"), [4, 4]),
        ("compile.balancing.every=2", ("compile", "balancing", "every"), 2),
        ("data.splits.test=train[:5%]", ("data", "splits", "test"), "train[:5%]"),
        ("compile.loss_weighting=", ("compile", "loss_weighting"), None),
    ],
)
def test_set(config, setting, path, value):
    assert change(config, setting) == path
    for key in path:
        config = config[key]
    assert config == value


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("fit.epochs", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("fit..epochs=3", "KEY=VALUE"),
        ("fit.epochs=[", "to be YAML"),
        ("tasks.totl.loss_weight=2", "Did you mean 'total'"),
        ("tasks.2.loss_weight=2", "index below 2"),
        ("seed.x=2", "something with keys above 'x'"),
    ],
)
def test_set_of_a_wrong_form(config, setting, message):
    with pytest.raises(ValueError, match=message) as error:
        change(config, setting)
    assert setting in str(error.value)


DAMAGED = [
    ("name: a\nfit: {epochs: 2\ntasks: []\n", "run.yaml", 3),
    ("name: a\n  seed: 0\n", "run.yaml", 2),
    ("name: a\nseed: 1\nname: b\n", "run.yaml", 3),
    ("name: a\nfit: !!python/object:os.system {}\n", "run.yaml", 2),
    (b"name: a\nseed: \xff\n", "run.yaml", 2),
    ("name: a\nseed: \x01\n", "run.yaml", 2),
    ('name = "a"\nseed = \n', "run.toml", 2),
    ('name = "a"\n[data\n', "run.toml", 2),
    ('name = "a"\ntasks = [\n', "run.toml", 2),
]


@pytest.mark.parametrize(("text", "name", "line"), DAMAGED)
def test_damaged_file(write, text, name, line):
    path = write(text, name)
    with pytest.raises(ValueError, match="damaged") as error:
        read_config(path)
    assert str(error.value).startswith(f"{path}, line {line}: ")


WRONG = [
    # What is changed in the text, the line of the key, its path, the message.
    ("fit:", "fot:", "(fot)", "Did you mean 'fit'"),
    ("epochs: 2", "epoch: 2", "(fit.epoch)", "Did you mean 'epochs'"),
    ("epochs: 2", "epochs: -1", "(fit.epochs)", "integer >= 1"),
    ("epochs: 2", "epochs: true", "(fit.epochs)", "integer >= 1"),
    ("verbose: 0", "verbose: loud", "(fit.verbose)", "'auto', 0, 1 or 2"),
    ("batch_size: 16", "batchsize: 16", "(data.batchsize)", "batch_size"),
    ("inputs: point", "inputs: []", "(data.inputs)", "list of names"),
    ("inputs: point", "splits: {trian: a}", "(data.splits.trian)", "'train'"),
    ("inputs: point", "splits: {train: null}", "(data.splits.train)", "a string"),
    ("head: regression", "haed: regression", "(tasks.1.haed)", "'head'"),
    ("head: regression", "head: [1]", "(tasks.1.head)", "class_name"),
    ("head: regression", "label: a", "(tasks.1)", "have the key `head`"),
    ("name: total", "name: 3", "(tasks.1.name)", "a string"),
    ("seed: 3", "seed: -3", "(seed)", "integer >= 0"),
    ("seed: 3", "architecture: {config: {}}", "(architecture)", "class_name"),
    ("balancer: pcgrad", "balancing: 3", "(compile.balancing)", "keys and values"),
    (
        "balancer: pcgrad",
        "balancer: {class_name: a, c: 1}",
        "(compile.balancer.c)",
        "c",
    ),
]


@pytest.mark.parametrize(("old", "new", "path", "message"), WRONG)
def test_wrong_value_names_file_line_and_path(config, write, old, new, path, message):
    text = yaml.safe_dump(config, sort_keys=False)
    assert old in text
    text = text.replace(old, new)
    file = write(text)
    with pytest.raises(ValueError, match=message) as error:
        read_config(file)
    lines = text.splitlines()
    key = path.strip("()").split(".")[-1]
    place, _, _ = str(error.value).partition(": ")
    assert place.startswith(f"{file}, line ")
    assert place.endswith(path)
    named = int(place.removesuffix(f" {path}").split()[-1])
    # A task as a whole is named by its first line.
    assert (key if not key.isdigit() else "- name: total") in lines[named - 1]


def test_a_changed_value_names_no_wrong_line(config_file):
    with pytest.raises(ValueError, match=r"\(fit\.epochs\).*epochs=-1") as error:
        read_config(config_file, ["fit.epochs=-1"])
    fit = config_file.read_text().splitlines().index("fit:") + 1
    assert f"line {fit} " in str(error.value)


def test_toml_errors_name_the_file(write):
    path = write(TOML.replace("[fit]\nepochs", "[fit]\nepoch"), "run.toml")
    with pytest.raises(ValueError, match="Did you mean 'epochs'") as error:
        read_config(path)
    assert str(error.value).startswith(f"{path} (fit.epoch): ")


@pytest.mark.parametrize(
    ("text", "name", "error", "message"),
    [
        ("[1, 2]", "run.yaml", ValueError, "keys and values"),
        ("", "run.yaml", ValueError, "keys and values"),
        ("{}", "run.json", ValueError, r"\.yaml, \.yml or \.toml"),
        ("seed: 0", "run.yaml", ValueError, "to have the key `name`"),
        (None, "run.yaml", FileNotFoundError, "does not exist"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, text, name, error, message):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=message) as raised:
        read_config(path)
    assert str(path) in str(raised.value)
