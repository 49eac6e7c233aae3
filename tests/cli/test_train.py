"""`keras-mtl train` and `keras-mtl evaluate` on a dataset of 40 examples."""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import yaml

import keras_mtl as mtl
from keras_mtl import distribution
from keras_mtl.analysis import read_run
from keras_mtl.callbacks import EpochBackup
from keras_mtl.cli import parts
from keras_mtl.cli.config import read_config
from keras_mtl.cli.main import main
from keras_mtl.utils.logs import by_task

EXAMPLES = pathlib.Path(mtl.__file__).parents[1] / "examples"


@pytest.fixture
def evaluate(data_dir):
    def command(*words):
        return main(["evaluate", *map(str, words), "--data-dir", str(data_dir)])

    return command


def assert_same(weights, others):
    assert len(weights) == len(others)
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_a_frozen_backbone_and_learning_rates_per_part(config_file):
    settings = ["backbone_trainable=false", "architecture=lora"]
    settings += ["compile.balancer=", "compile.learning_rate_multipliers.kind=0.5"]
    model = parts.make_model(read_config(config_file, settings))
    paths = [v.path for v in model.trainable_variables]
    assert not any(path.startswith("dense_0/") for path in paths)
    assert any("lora" in path for path in paths)
    assert model.get_compile_config()["learning_rate_multipliers"] == {"kind": 0.5}


def test_train_then_evaluate(train, evaluate, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(run) == 0
    shown = capsys.readouterr().out
    assert "2 tasks" in shown
    assert "3 steps per epoch" in shown
    assert "kind   accuracy" in shown
    assert read_config(run / "config.yaml").fit.epochs == 2
    left = read_run(run)
    assert left.task_names == ("kind", "total")
    assert left.epochs.tolist() == [1, 2]

    assert evaluate(run) == 0
    shown = capsys.readouterr().out
    assert "kind   accuracy" in shown
    result = json.loads((run / "evaluate_test.json").read_text())
    assert result["num_examples"] == 12
    assert set(result["values"]) == {"kind", "total", "(all)"}
    # A mask was given, and the label under it is 1e6.
    assert result["values"]["total"]["mae"] < 100

    assert evaluate(run, "--split", "validation") == 0
    result = json.loads((run / "evaluate_validation.json").read_text())
    curve = left.scalars["kind"]["loss"]["validation"]
    np.testing.assert_allclose(result["values"]["kind"]["loss"], curve[-1], rtol=1e-6)

    assert evaluate(run / "best.keras", "--split", "test[:4]") == 0
    assert (run / "evaluate_test-4_best.json").exists()


def test_more_epochs_go_on(train, whole_run, tmp_path, weights_of, capsys):
    run = tmp_path / "run"
    assert train(run, "fit.epochs=1") == 0
    assert train(run, "fit.epochs=3") == 0
    assert "epochs 2 to 3, going on" in capsys.readouterr().out
    for name in ("model.keras", "best.keras"):
        assert_same(weights_of(run / name), weights_of(whole_run / name))
    assert read_run(run).epochs.tolist() == [1, 2, 3]
    # And again, with nothing left to do.
    assert train(run, "fit.epochs=2") == 0
    assert "3 epochs are done already" in capsys.readouterr().out
    for name in ("model.keras", "best.keras"):
        assert_same(weights_of(run / name), weights_of(whole_run / name))


@pytest.mark.parametrize("place", ["in an epoch", "before the backup"])
def test_interrupted_run_goes_on(
    train, whole_run, tmp_path, weights_of, monkeypatch, place
):
    run = tmp_path / "run"
    calls = []

    def interrupt(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == (5 if place == "in an epoch" else 2):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if place == "in an epoch":
            patch.setattr(mtl.data.EpochOrder, "on_train_batch_end", interrupt)
        else:
            patch.setattr(keras.Model, "save_weights", _half_written(interrupt))
        assert train(run, "fit.epochs=3") == 130
    assert not (run / "model.keras").exists()
    assert train(run, "fit.epochs=3") == 0
    for name in ("model.keras", "best.keras"):
        assert_same(weights_of(run / name), weights_of(whole_run / name))


def _half_written(interrupt):
    save = keras.Model.save_weights

    def save_weights(self, path, **options):
        save(self, path, **options)
        content = pathlib.Path(path).read_bytes()
        pathlib.Path(path).write_bytes(content[: len(content) // 2])
        interrupt(self)
        pathlib.Path(path).write_bytes(content)

    return save_weights


def test_another_configuration_is_refused(train, tmp_path, weights_of, capsys):
    run = tmp_path / "run"
    assert train(run) == 0
    before = weights_of(run / "model.keras")
    capsys.readouterr()
    assert train(run, "compile.balancer=mgda", "tasks.total.loss_weight=3") == 1
    shown = capsys.readouterr().err
    assert "compile.balancer: 'pcgrad' there, 'mgda' now" in shown
    assert "tasks.1.loss_weight: 0.5 there, 3 now" in shown
    assert "--no-resume" in shown
    assert_same(before, weights_of(run / "model.keras"))
    assert read_config(run / "config.yaml").compile.balancer == "pcgrad"

    (run / "notes.txt").write_text("mine")
    assert train(run, "compile.balancer=mgda", options=["--no-resume"]) == 0
    assert read_config(run / "config.yaml").compile.balancer == "mgda"
    assert read_run(run).epochs.tolist() == [1, 2]
    assert (run / "notes.txt").exists()


def test_a_folder_that_is_no_run_keeps_its_files(train, tmp_path):
    run = tmp_path / "run"
    (run / "train").mkdir(parents=True)
    files = [run / "best.keras", run / "train" / "mine.tfevents.1"]
    for file in files:
        file.write_bytes(b"")
    assert train(run, "fit.epochs=1", options=["--no-resume"]) == 0
    assert files[1].exists()


def test_a_configuration_that_never_trained_can_be_mended(train, tmp_path):
    run = tmp_path / "run"
    # The labels do not fit the head: known at the first batch only.
    assert train(run, "tasks.total.label=point") == 1
    assert train(run, "fit.epochs=1") == 0


def test_damaged_backup_is_named(train, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(run, "fit.epochs=1") == 0
    backup = run / "backup" / "epoch_00001.weights.h5"
    backup.write_bytes(backup.read_bytes()[:2000])
    assert train(run, "fit.epochs=2") == 1
    assert str(backup) in capsys.readouterr().err
    shutil.rmtree(run / "backup")
    assert train(run, "fit.epochs=2") == 1
    assert "no backup" in capsys.readouterr().err
    assert (run / "model.keras").exists()


def test_backup_keeps_one_state(tmp_path):
    backup = EpochBackup(tmp_path / "backup")
    assert backup.epochs() == []
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert backup.restore(model) == 0
    model.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=3, callbacks=[backup], verbose=0)
    assert [path.name for path in (tmp_path / "backup").iterdir()] == [
        "epoch_00003.weights.h5"
    ]
    assert backup.restore(model) == 3


def test_without_validation(train, tmp_path, capsys):
    assert train(tmp_path / "run", "data.splits.validation=null") == 0
    assert (tmp_path / "run" / "best.keras").exists()
    assert "accuracy" not in capsys.readouterr().out


def test_streaming_schedule_and_policy(train, tmp_path, evaluate):
    schedule = "{initial_learning_rate: 1e-2, decay_steps: 9}"
    schedule = f"{{class_name: CosineDecay, config: {schedule}}}"
    metric = "{class_name: RootMeanSquaredError, config: {name: rmse}}"
    settings = (
        "data.buffer_size=10",
        "fit.steps_per_epoch=2",
        f"compile.optimizer.learning_rate={schedule}",
        "dtype_policy=mixed_bfloat16",
        "compile.balancing.every=2",
        "tasks.total.loss.class_name=Huber",
        f"tasks.total.metrics=[mae, {metric}]",
    )
    assert train(tmp_path / "run", *settings) == 0
    assert keras.config.dtype_policy().name == "float32"
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert int(model.optimizer.iterations) == 4
    assert evaluate(tmp_path / "run") == 0
    values = json.loads((tmp_path / "run" / "evaluate_test.json").read_text())["values"]
    assert set(values["total"]) == {"loss", "mae", "rmse"}


def test_strategy(train, evaluate, tmp_path, two_replicas, monkeypatch):
    asked = []

    def strategy(identifier):
        asked.append(identifier)
        return two_replicas

    monkeypatch.setattr(distribution, "strategy", strategy)
    run, option = tmp_path / "run", ["--strategy", "mirrored"]
    assert train(run, "fit.epochs=1", options=option) == 0
    assert train(run, "fit.epochs=2", options=option) == 0
    assert evaluate(run, *option) == 0
    assert asked == ["mirrored"] * 3
    assert read_run(run).epochs.tolist() == [1, 2]


WRONG = [
    ("compile.balancer=pcgrd", "(compile.balancer)", "Did you mean 'pcgrad'"),
    ("compile.balancer.c=1", "(compile.balancer)", "Cannot make the balancer"),
    ("compile.loss_weighting=dwaa", "(compile.loss_weighting)", "'dwa'"),
    ("compile.optimizer=adm", "(compile.optimizer)", "Did you mean 'Adam'"),
    ("compile.optimizer.lr=1", "(compile.optimizer)", "'lr'"),
    (
        "compile.optimizer.learning_rate={class_name: Cosine}",
        "(compile.optimizer.config.learning_rate)",
        "CosineDecay",
    ),
    ("compile.balancing={evry: 2}", "(compile.balancing.evry)", "'every'"),
    ("compile.balancing={every: 0}", "(compile.balancing)", "integer >= 1"),
    ("tasks.kind.head=clasification", "(tasks.0.head)", "'classification'"),
    ("tasks.kind.loss={class_name: Hubr}", "(tasks.0.loss)", "'Huber'"),
    ("tasks.kind.metrics=[{class_name: F1}]", "(tasks.0.metrics.0)", "F1Score"),
    ("tasks.kind.loss_weight=-1", "(tasks.0)", "`loss_weight`"),
    ("tasks.kind.name=total", "", "unique"),
    ("tasks=[]", "", "at least one task"),
    ("backbone=mpl", "(backbone)", "'mlp'"),
    ("backbone={kind: {class_name: mpl}}", "(backbone.kind)", "'mlp'"),
    ("architecture=hrad", "(architecture)", "'hard'"),
    ("dtype_policy=float33", "(dtype_policy)", "float33"),
    ("data.dataset=tiny_pints", "(data.dataset)", "'tiny_points'"),
    ("data.splits.train=trian", "(data.splits.train)", "trian"),
    ("data.inputs=pont", "(data)", "'pont'"),
    ("tasks.kind.label=knd", "(data)", "'knd'"),
]


@pytest.mark.parametrize(("setting", "path", "message"), WRONG)
def test_wrong_parts(train, config_file, tmp_path, capsys, setting, path, message):
    assert train(tmp_path / "run", setting) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"keras-mtl: error: {config_file}")
    assert f"{path}: " in shown.splitlines()[0]
    assert message in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "run").exists()


def test_one_backbone_per_task_and_a_shared_one(config):
    config["backbone"] = dict.fromkeys(("kind", "total"), config["backbone"])
    model = _model(config)
    separate = {
        "kind": config["backbone"]["kind"],
        "total": {
            "class_name": "mlp",
            "config": {"input_shape": [4], "units": [8], "name": "other"},
        },
    }
    config["compile"]["balancer"] = None
    assert _model(config | {"backbone": separate}).count_params() > model.count_params()


def _model(tree):
    from keras_mtl.cli.config import Config

    return parts.make_model(Config(**tree))


def test_evaluate_of_what_is_no_model(evaluate, config_file, tmp_path, capsys):
    damaged = tmp_path / "model.keras"
    damaged.write_bytes(b"PK no archive")
    other = tmp_path / "other.keras"
    plain = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    plain.save(other)
    (tmp_path / "empty").mkdir()
    for words, message in [
        ((damaged,), "config.yaml"),
        ((damaged, "--config", config_file), "damaged"),
        ((other, "--config", config_file), "build_model"),
        ((tmp_path / "none.keras", "--config", config_file), "none.keras"),
        ((tmp_path / "empty",), "empty"),
    ]:
        assert evaluate(*words) == 1
        assert message in capsys.readouterr().err


def test_evaluate_of_an_unfinished_run_names_the_best_model(evaluate, tmp_path, capsys):
    (tmp_path / "best.keras").write_bytes(b"")
    assert evaluate(tmp_path) == 1
    assert "best.keras" in capsys.readouterr().err


def test_logs_belong_to_the_longest_name():
    logs = {"loss": 1.0, "a_loss": 2.0, "a_b_loss": 3.0, "a_b_mae": float("nan")}
    values = by_task(logs, ["a", "a_b"])
    assert values["a"] == {"loss": 2.0}
    assert set(values["a_b"]) == {"loss", "mae"}
    assert "nan" in parts.results_table(values, "test")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.name)
def test_examples_build(path):
    config = read_config(path)
    model = parts.make_model(config)
    assert model.task_names == tuple(task.name for task in config.tasks)
    assert yaml.safe_load(config.to_yaml())["name"] == config.name
