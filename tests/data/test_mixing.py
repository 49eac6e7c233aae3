"""The pipeline of a mixture: structure, masks, order, restart, replicas."""

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.data import mix
from tests.asserts import error_with

SIZES = {"a": 30, "b": 7, "c": 18}


def arrays(name, *, inputs=None, labels=None):
    """Examples whose every number says which example it is: 1000, 1001, … for `b`."""
    start = 1000.0 * list(SIZES).index(name) + 1
    number = np.arange(SIZES[name], dtype="float32") + start
    x = np.stack([number, -number], axis=1)
    x = x if inputs is None else dict.fromkeys(inputs, x)
    y = number if labels is None else dict.fromkeys(labels, number)
    return x, y


def three():
    """One task each for `a` and `b`, two for `c`, one of them also in `a`."""
    return {
        "a": arrays("a"),
        "b": arrays("b"),
        "c": arrays("c", labels=["a", "d"]),
    }


def streamed(datasets):
    return {k: tf.data.Dataset.from_tensor_slices(v) for k, v in datasets.items()}


def read(dataset):
    return [tf.nest.map_structure(np.asarray, batch) for batch in dataset]


def assert_same(one, other):
    assert len(one) == len(other)
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def set_of(number):
    return np.array(list(SIZES))[(np.asarray(number) // 1000).astype(int)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"buffer_size": 5},
        {"batch": "one_task"},
        {"batch": "one_task", "buffer_size": 5},
    ],
)
def test_each_example_says_which_tasks_it_labels(options):
    mixture = mix(three(), 8, rates="uniform", stop=6, **options)
    batches = read(mixture.dataset)
    assert len(batches) == int(mixture.dataset.cardinality()) == 6
    labels = {"a": {"a"}, "b": {"b"}, "c": {"a", "d"}}
    assert mixture.label_keys() == {k: sorted(v) for k, v in labels.items()}
    for x, y in batches:
        number = x[:, 0]
        np.testing.assert_array_equal(x[:, 1], -number)
        assert sorted(y) == ["a", "a_mask", "b", "b_mask", "d", "d_mask"]
        sets = set_of(number)
        if "batch" in options:
            assert len(set(sets)) == 1
        for key in "abd":
            there = np.array([key in labels[name] for name in sets])
            np.testing.assert_array_equal(y[f"{key}_mask"], there)
            np.testing.assert_array_equal(y[key], np.where(there, number, 0.0))


@pytest.mark.parametrize("options", [{}, {"buffer_size": 5}])
def test_absent_inputs_and_given_masks(options):
    a, b = arrays("a", inputs=["left"]), arrays("b", inputs=["right"])
    given = np.arange(30) % 2 == 0
    a = (a[0], {"same": a[1], "same_mask": given})
    b = (b[0], {"same": b[1]})
    mixture = mix({"a": a, "b": b}, 6, stop=4, **options)
    assert mixture.label_keys() == {"a": ["same"], "b": ["same"]}
    for x, y in read(mixture.dataset):
        assert sorted(x) == ["left", "left_present", "right", "right_present"]
        assert sorted(y) == ["same", "same_mask"]
        from_a = set_of(y["same"]) == "a"
        np.testing.assert_array_equal(x["left_present"], from_a)
        np.testing.assert_array_equal(x["right_present"], ~from_a)
        np.testing.assert_array_equal(x["left"][:, 0], np.where(from_a, y["same"], 0))
        np.testing.assert_array_equal(x["right"][:, 0], np.where(from_a, 0, y["same"]))
        np.testing.assert_array_equal(y["same_mask"], ~from_a | (y["same"] % 2 == 1))
    without = mix({"a": a, "b": b}, 6, presence=False, **options)
    assert sorted(without.dataset.element_spec[0]) == ["left", "right"]


@pytest.mark.parametrize("options", [{}, {"buffer_size": 5}])
@pytest.mark.parametrize(
    "keys", [("right", "right_present"), ("right_present", "right")]
)
def test_given_flags_of_inputs_are_kept(options, keys):
    a, b, c = (arrays(name, inputs=["left"]) for name in "abc")
    given = np.arange(30) % 3 > 0
    values = {"right": a[0]["left"], "right_present": given}
    a = (a[0] | {key: values[key] for key in keys}, a[1])
    c = (c[0] | {"right": c[0]["left"]}, c[1])
    mixture = mix({"a": a, "b": b, "c": c}, 5, rates="uniform", stop=6, **options)
    for x, y in read(mixture.dataset):
        assert sorted(x) == ["left", "right", "right_present"]
        there = np.where(y["a_mask"], given[y["a"].astype(int) - 1], y["c_mask"])
        np.testing.assert_array_equal(x["right_present"], there)


@pytest.mark.parametrize("batch", ["mixed", "one_task"])
@pytest.mark.parametrize("source", ["arrays", "datasets", "streams"])
def test_any_batch_of_any_epoch_is_there_again(source, batch):
    options = {"rates": 2.0, "stop": 8, "seed": 5, "batch": batch}
    if source == "streams":
        options["buffer_size"] = 4
    data = three() if source == "arrays" else streamed(three())
    one, other = mix(data, 4, **options), mix(data, 4, **options)
    following = []
    for epoch in range(3):
        one.on_epoch_begin(epoch)
        following.append(read(one.dataset))
        one.on_epoch_end(epoch)
    assert one.dataset.element_spec == mix(three(), 4).dataset.element_spec
    keras.utils.set_random_seed(1)  # does not matter
    for epoch in (2, 0):
        assert_same(read(other.epoch_batches(epoch)), following[epoch])
        assert_same(read(other.epoch_batches(epoch, 5)), following[epoch][5:])
    assert (following[0][0][0] != following[1][0][0]).any()


@pytest.mark.parametrize("options", [{}, {"buffer_size": 4}])
def test_an_epoch_has_each_example_once(options):
    mixture = mix(streamed(three()), 3, stop="all", rates="proportional", **options)
    for epoch in (0, 2):
        numbers = np.concatenate(
            [x[:, 0] for x, _ in read(mixture.epoch_batches(epoch))]
        )
        assert set(numbers) == {n for x, _ in three().values() for n in x[:, 0]}
        assert len(numbers) < sum(SIZES.values()) + 2 * 3


def test_streams_through_a_buffer_of_one_keep_their_order():
    mixture = mix(streamed(three()), 6, rates="uniform", stop="all", buffer_size=1)
    numbers = np.concatenate([x[:, 0] for x, _ in read(mixture.dataset)])
    for name in SIZES:
        own = numbers[set_of(numbers) == name]
        # Small ones begin anew.
        np.testing.assert_array_equal(own, np.resize(arrays(name)[0][:, 0], len(own)))


def counted(size, drawn):
    """A stream of the numbers below `size`; `drawn` gets every one that is read."""

    def note(number):
        drawn.append(int(number))
        return number

    dataset = tf.data.Dataset.range(size).map(
        lambda n: tf.ensure_shape(tf.numpy_function(note, [n], tf.int64), [])
    )
    return dataset.map(lambda n: (n, n))


@pytest.mark.parametrize("buffer_size", [5, 10**9])
@pytest.mark.parametrize("rates", [[6, 3, 1], [1, 0, 1], lambda step: [1, 1, step < 2]])
def test_streams_read_no_more_than_an_epoch_needs(buffer_size, rates):
    sizes = {"a": 40, "b": 20, "c": 20}
    drawn = {name: [] for name in sizes}
    streams = {name: counted(size, drawn[name]) for name, size in sizes.items()}
    mixture = mix(streams, 10, rates=rates, buffer_size=buffer_size, stop=4)
    batches = read(mixture.dataset)
    assert len(batches) == 4
    for name, size in sizes.items():
        needed = sum(int(y[f"{name}_mask"].sum()) for _, y in batches)
        held = min(buffer_size, size)
        assert len(drawn[name]) <= min(needed + held, size)
        assert bool(drawn[name]) == (needed > 0)


@pytest.mark.parametrize(
    ("steps", "epochs", "times"),
    [(1, 8, 2), (3, 8, 6), (4, 3, 3), (6, 4, 6), (7, 4, 7)],
)
def test_streams_give_every_example_equally_often(steps, epochs, times):
    stream = {"a": tf.data.Dataset.range(40).map(lambda n: (n, n))}
    mixture = mix(stream, 10, stop=steps, buffer_size=1)
    parts = [x for e in range(epochs) for x, _ in read(mixture.epoch_batches(e))]
    counts = np.bincount(np.concatenate(parts), minlength=40)
    np.testing.assert_array_equal(counts, times)


def test_streams_go_on_with_what_an_epoch_did_not_take():
    numbers = {"large": np.arange(400), "small": np.arange(20)}
    streams = streamed({name: (n, n) for name, n in numbers.items()})
    mixture = mix(streams, 10, rates="uniform", buffer_size=10)
    seen = set()
    for epoch in range(15):
        for _, y in read(mixture.epoch_batches(epoch)):
            seen |= set(y["large"][y["large_mask"]].tolist())
    taken = 15 * mixture.steps_per_epoch * 5
    assert taken == 300
    # From its beginning in every epoch it would be 30 different ones.
    assert max(seen) > 280 and len(seen) > 0.7 * taken


def test_a_buffer_leaves_no_example_out_for_good():
    stream = {"a": tf.data.Dataset.range(400).map(lambda n: (n, n))}
    mixture = mix(stream, 10, stop=37, buffer_size=20)
    parts = [x for e in range(26) for x, _ in read(mixture.epoch_batches(e))]
    counts = np.bincount(np.concatenate(parts), minlength=400)
    # 30 of 400 are left out by each of 26 epochs: about 2 times each.
    assert counts.min() >= 20 and counts.max() <= 26


@pytest.mark.parametrize("data", [(np.zeros(3), np.zeros(4)), (1.0, 2.0), ("x", "y")])
def test_bad_arrays_for_streams_are_named(data):
    with error_with(ValueError, "Data set 'b'", "first axes have one length"):
        mix({"a": arrays("a"), "b": data}, 2, buffer_size=2)


def test_set_rates_is_for_the_epochs_that_follow():
    mixture = mix(three(), 8, stop="first")
    assert mixture.rates_at(0)["a"] == pytest.approx(30 / 55)
    steps = mixture.steps_per_epoch
    mixture.set_rates({"c": 3.0, "b": 1.0, "a": 0.0})
    assert mixture.rates_at(9) == {"a": 0.0, "b": 0.25, "c": 0.75}
    batches = read(mixture.dataset)
    assert len(batches) == steps
    for x, _ in batches:
        assert sorted(set_of(x[:, 0])) == ["b"] * 2 + ["c"] * 6
    with error_with(ValueError, "['a', 'b', 'c']", "['a']"):
        mixture.set_rates({"a": 1.0})


def small(**changes):
    x, y = arrays("b")
    return {"x": x, "y": y, **changes}


@pytest.mark.parametrize(
    ("datasets", "options", "parts"),
    [
        ({}, {}, ["`datasets`", "{}"]),
        ([arrays("a")], {}, ["`datasets`"]),
        ({"a": (np.zeros((0, 2)), np.zeros(0))}, {}, ["'a'", "at least 1"]),
        ({"a": arrays("a")[0]}, {}, ["'a'", "pairs `(x, y)`"]),
        ({"a": arrays("a"), "b": arrays("b", inputs=["left"])}, {}, ["'a' and 'b'"]),
        (
            {"a": arrays("a"), "b": (np.zeros((7, 3), "float32"), np.zeros(7))},
            {},
            ["the input", "'a' and 'b'", "(2,)", "(3,)"],
        ),
        (
            {"a": arrays("a"), "b": (arrays("b")[0], {"a": np.zeros(7, "int64")})},
            {},
            ["labels 'a'", "'a' and 'b'", "float32", "int64"],
        ),
        ({"a": arrays("a")}, {"rates": "square"}, ["'square'"]),
        ({"a": arrays("a")}, {"batch": "pure"}, ["['mixed', 'one_task']", "'pure'"]),
        ({"a": arrays("a")}, {"batch_size": 0}, ["batch_size=0"]),
        ({"a": arrays("a")}, {"seed": 1.5}, ["seed=1.5"]),
        ({"a": arrays("a")}, {"buffer_size": 0}, ["buffer_size=0"]),
        (
            {"a": tf.data.Dataset.range(3).map(lambda n: (n, n)).repeat()},
            {"buffer_size": 2},
            ["'a'", "endless"],
        ),
        (
            {
                "a": tf.data.Dataset.from_generator(
                    lambda: iter([]),
                    output_signature=(tf.TensorSpec([None]), tf.TensorSpec([])),
                ).apply(tf.data.experimental.assert_cardinality(3))
            },
            {"buffer_size": 2},
            ["'a'", "known shape"],
        ),
    ],
)
def test_what_cannot_be_mixed(datasets, options, parts):
    with error_with(ValueError, *parts):
        mix(datasets, **{"batch_size": 2, **options})


def test_steps_that_are_not_there():
    mixture = mix({"a": arrays("a")}, 10)
    with error_with(ValueError, "below 3", "first_step=3"):
        mixture.epoch_batches(0, 3)


# === In `fit` ===


def points(seed, size, key):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 4)).astype(keras.config.floatx())
    return x, {key: x @ rng.normal(size=(4, 1)).astype(x.dtype)}


def sets_of_points():
    return {k: points(i, n, k) for i, (k, n) in enumerate(SIZES.items())}


def regression(names=tuple(SIZES), **compile_arguments):
    keras.utils.set_random_seed(1)
    model = mtl.build_model(
        mtl.backbones.MLP(input_shape=(4,), units=(6,), activation="tanh"),
        [mtl.Task(name, mtl.heads.Regression(1)) for name in names],
    )
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), **compile_arguments)
    return model


def trained(strategy, buffer_size):
    with strategy.scope():
        model = regression(balancer="cagrad")
        options = {"rates": "uniform", "stop": 4, "seed": 2}
        mixture = mix(sets_of_points(), 9, buffer_size=buffer_size, **options)
    history = model.fit(mixture.dataset, epochs=3, callbacks=[mixture], verbose=0)
    assert mixture.epoch == 2
    return model.get_weights(), history.history


@pytest.mark.parametrize("buffer_size", [None, 4])
def test_two_replicas_are_one(float64, two_replicas, buffer_size):
    one, logs = trained(tf.distribute.get_strategy(), buffer_size)
    two, other_logs = trained(two_replicas, buffer_size)
    for weight, other in zip(one, two, strict=True):
        np.testing.assert_allclose(other, weight, rtol=0, atol=1e-12)
    assert logs.keys() == other_logs.keys() >= {"a_loss", "b_loss", "c_loss"}
    for key, values in logs.items():
        np.testing.assert_allclose(other_logs[key], values, rtol=1e-10, err_msg=key)


def test_a_mixture_needs_its_own_pipeline():
    mixture = mix({"a": arrays("a")}, 10)
    mixture.on_epoch_begin(1)
    read(mixture.epoch_batches(0))
    with error_with(ValueError, "`TaskMixture`", "epoch=1"):
        mixture.on_epoch_end(1)
    read(mixture.epoch_batches(1, 2))
    mixture.on_epoch_end(1)


def test_batches_of_one_task_and_a_balancer():
    model = regression(balancer="pcgrad")
    one_task = mix(sets_of_points(), 4, batch="one_task")
    one_task.set_model(model)
    with pytest.warns(UserWarning, match="nothing to balance"):
        one_task.on_train_begin()
    quiet = [
        (mix(sets_of_points(), 4), model),
        (one_task, regression()),
        (mix(three(), 4, batch="one_task"), model),
        (one_task, regression(balancer="latest_gradients")),
    ]
    for mixture, other in quiet:
        mixture.set_model(other)
        mixture.on_train_begin()  # Warnings are errors here.


def test_a_model_without_the_presence_of_inputs():
    inputs = {k: keras.Input((2,), name=k) for k in ("left", "right")}
    model = keras.Model(inputs, keras.layers.Add()(list(inputs.values())))
    data = {"a": arrays("a", inputs=["left"]), "b": arrays("b", inputs=["right"])}
    mixture = mix(data, 4)
    mixture.set_model(model)
    with error_with(ValueError, "left_present", "PresentRows"):
        mixture.on_train_begin()
    mixture = mix(data, 4, presence=False)
    mixture.set_model(model)
    mixture.on_train_begin()


def test_the_documentation_runs(capsys):
    text = (pathlib.Path(__file__).parents[2] / "docs" / "mixing.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.M)
    names = {}
    exec(compile(block, "docs/mixing.md", "exec"), names)
    assert sum(names["mixture"].rates_at().values()) == pytest.approx(1.0)
