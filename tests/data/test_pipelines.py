"""The order of the batches is a pure function of (seed, epoch), in `fit` too."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.data import EpochOrder, epoch_batches, pairs

SIZE, BATCH = 10, 4


def rows():
    return np.arange(SIZE)


def streamed():
    return tf.data.Dataset.range(SIZE)


SOURCES = {
    "arrays": (rows, {}),
    "dataset": (streamed, {}),
    "stream": (streamed, {"buffer_size": 4}),
    "stream, buffer larger than the data": (streamed, {"buffer_size": 64}),
    "steps": (rows, {"steps_per_epoch": 2}),
    "more steps than a pass": (rows, {"steps_per_epoch": 7}),
    "stream, steps": (streamed, {"buffer_size": 4, "steps_per_epoch": 2}),
}
sources = pytest.mark.parametrize(
    ("make", "options"), SOURCES.values(), ids=list(SOURCES)
)


def as_lists(dataset):
    return [batch.numpy().tolist() for batch in dataset]


def order_of(make, options, seed=3, epoch=0):
    return as_lists(epoch_batches(make(), BATCH, seed=seed, epoch=epoch, **options))


class Recorder(keras.Model):
    """Notes the examples of every step, from inside the compiled train step."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.scale = self.add_weight(shape=(), initializer="zeros", name="scale")
        self.built = True

    def call(self, x):
        return x * self.scale

    def train_step(self, data):
        tf.numpy_function(lambda x: self.seen.append(x.tolist()), [data], [])
        return {"loss": tf.constant(0.0)}


def fit(make, options, *, steps_per_execution=1, **fit_options):
    """The batches that `fit` draws, as a list."""
    order = EpochOrder(seed=3)
    model = Recorder()
    model.compile(steps_per_execution=steps_per_execution)
    model.fit(
        order.batches(make(), BATCH, **options),
        callbacks=[order],
        verbose=0,
        shuffle=False,
        **fit_options,
    )
    return model.seen


@sources
def test_same_seed_and_epoch_is_the_same_order(make, options):
    assert order_of(make, options, epoch=2) == order_of(make, options, epoch=2)


@sources
def test_seed_and_epoch_change_the_order(make, options):
    orders = [
        order_of(make, options, seed=seed, epoch=epoch)
        for seed in (3, 4)
        for epoch in (0, 1, 2)
    ]
    for one, other in itertools.combinations(orders, 2):
        assert one != other


@sources
def test_global_seed_does_not_matter(make, options):
    keras.utils.set_random_seed(1)
    first = order_of(make, options)
    keras.utils.set_random_seed(2)
    assert order_of(make, options) == first


@sources
def test_every_pass_has_every_example_once(make, options):
    batches = list(
        itertools.chain.from_iterable(
            order_of(make, options, epoch=epoch) for epoch in range(6)
        )
    )
    per_pass = -(-SIZE // BATCH)
    for start in range(0, len(batches) - per_pass + 1, per_pass):
        drawn = itertools.chain.from_iterable(batches[start : start + per_pass])
        assert sorted(drawn) == list(range(SIZE))


def test_the_first_batch_of_a_stream_has_other_examples_in_other_epochs():
    firsts = {tuple(sorted(order_of(*SOURCES["stream"], epoch=e)[0])) for e in range(8)}
    assert len(firsts) > 1


@sources
@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_fit_sees_the_order_of_each_epoch(make, options, steps_per_execution):
    expected = [order_of(make, options, epoch=epoch) for epoch in range(3)]
    seen = fit(make, options, epochs=3, steps_per_execution=steps_per_execution)
    assert seen == list(itertools.chain.from_iterable(expected))


@sources
def test_fit_from_a_later_epoch_sees_the_same(make, options):
    whole = fit(make, options, epochs=3)
    part = fit(make, options, epochs=3, initial_epoch=1)
    assert part == whole[len(whole) // 3 :]


def test_keras_own_seeded_shuffle_would_not():
    """The trap that this module is for; if this fails, Keras or TensorFlow changed."""

    def epochs(number):
        dataset = streamed().shuffle(SIZE, seed=3)
        return [as_lists(dataset.batch(BATCH)) for _ in range(number)]

    assert epochs(3)[2] != epochs(1)[0]


def test_fit_with_as_many_steps_as_the_pipeline_has():
    """`fit(steps_per_epoch=)` makes iterators early; one device still gets it right."""
    expected = fit(rows, {}, epochs=3)
    assert fit(rows, {}, epochs=3, steps_per_epoch=3) == expected


@pytest.mark.parametrize("batch_size", [2, 10])
@pytest.mark.parametrize("spoil", ["steps", "cache", "other"])
def test_an_order_that_would_be_wrong_raises(spoil, batch_size):
    order = EpochOrder(seed=3)
    train = order.batches(rows(), batch_size, steps_per_epoch=4)
    callback, options = order, {}
    if spoil == "steps":
        options = {"steps_per_epoch": 2 if batch_size == 2 else 1}
    elif spoil == "cache":
        train = train.cache()
    else:
        callback = EpochOrder(seed=3)
    model = Recorder()
    model.compile()
    with pytest.raises(ValueError, match="do not follow the epochs"):
        model.fit(
            train, epochs=3, callbacks=[callback], verbose=0, shuffle=False, **options
        )


def test_mapped_and_prefetched_pipelines_follow_too():
    order = EpochOrder(seed=3)
    train = order.batches(rows(), BATCH).map(lambda x: x + 100).prefetch(2)
    model = Recorder()
    model.compile()
    model.fit(train, epochs=2, callbacks=[order], verbose=0, shuffle=False)
    expected = order_of(rows, {}, epoch=0) + order_of(rows, {}, epoch=1)
    assert model.seen == [[i + 100 for i in batch] for batch in expected]


def test_structures_stay_together_and_missing_labels_stay():
    x = np.arange(SIZE, dtype="float32")
    y = {"a": np.where(x % 3 == 0, np.nan, x), "b": np.array([str(i) for i in rows()])}
    data = epoch_batches((x, y), BATCH, seed=0, epoch=0, drop_remainder=True)
    assert len(data) == 2
    for batch, labels in data:
        for value, a, b in zip(batch, labels["a"], labels["b"], strict=True):
            assert int(b.numpy()) == int(value)
            assert np.isnan(a) == (int(value) % 3 == 0)


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (rows, {"batch_size": 0}, "`batch_size`"),
        (rows, {"steps_per_epoch": 0}, "`steps_per_epoch`"),
        (rows, {"buffer_size": 4}, "tf.data.Dataset"),
        (streamed, {"buffer_size": 0}, "`buffer_size`"),
        (rows, {"batch_size": 11, "drop_remainder": True}, "`batch_size` <= 10"),
        (rows, {"epoch": -1}, "`epoch`"),
        (lambda: (np.zeros(3), np.zeros(4)), {}, r"shapes=\[\(3,\), \(4,\)\]"),
        (lambda: np.zeros(0), {}, r"shapes=\[\(0,\)\]"),
        (lambda: streamed().repeat(), {}, "endless"),
        (lambda: streamed().filter(lambda i: i > 2), {}, "assert_cardinality"),
    ],
)
def test_bad_arguments(data, options, words):
    options = {"batch_size": BATCH, "seed": 0, "epoch": 0, **options}
    with pytest.raises(ValueError, match=words):
        epoch_batches(data(), **options)


@pytest.mark.parametrize("name", ["seed", "epoch", "batch_size", "steps_per_epoch"])
def test_numbers_are_integers(name):
    options = {"batch_size": BATCH, "seed": 0, "epoch": 0, name: 1.5}
    with pytest.raises(TypeError, match=f"{name}=1.5"):
        epoch_batches(rows(), **options)


def examples():
    return tf.data.Dataset.from_tensor_slices(
        {
            "image": np.full((3, 2, 2, 1), 51, "uint8"),
            "depth": np.full((3, 2), 7.0, "float32"),
            "digit": np.array([1, 2, 3]),
        }
    )


@pytest.mark.parametrize("batched", [False, True])
def test_pairs_scales_images_and_names_tasks(batched):
    dataset = examples().batch(3) if batched else examples()
    x, y = next(iter(pairs(dataset, labels={"class": "digit"})))
    assert x.dtype == tf.float32
    np.testing.assert_allclose(x, 0.2, rtol=1e-6)
    assert list(y) == ["class"]
    assert y["class"].dtype == tf.int64


def test_pairs_with_several_inputs():
    x, y = next(iter(pairs(examples(), inputs=("image", "depth"), labels="digit")))
    assert sorted(x) == ["depth", "image"]
    np.testing.assert_array_equal(x["depth"], 7.0)
    assert int(y["digit"]) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": "digits"}, "`labels`.*'digits'"),
        ({"inputs": "img", "labels": "digit"}, "`inputs`.*'img'"),
    ],
)
def test_pairs_names_a_missing_feature(options, words):
    with pytest.raises(ValueError, match=words):
        pairs(examples(), **options)
