"""A trained model with further tasks."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.continual import add_tasks
from tests.asserts import error_with
from tests.training import problems

OLD, NEW = problems.tasks()[:2], problems.tasks()[2:]


@pytest.mark.parametrize("architecture", ["hard", "mmoe"])
def test_the_old_tasks_are_predicted_as_before_and_the_new_one_learns(architecture):
    x, y = problems.data()
    model = mtl.build_model(
        problems.backbone(), OLD, architecture=architecture, backbone_trainable=1
    )
    x_test = x[:7]
    before = model.predict(x_test, verbose=0)
    more = add_tasks(model, NEW)
    assert more.task_names == problems.TASKS
    after = more.predict(x_test, verbose=0)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    more.compile(keras.optimizers.Adam(0.02))
    more.set_task_priorities({"kind": 0.0, "price": 0.0})
    start = problems.weights(more)
    more.fit(x, {"sold": y["sold"]}, epochs=2, verbose=0)
    end = problems.weights(more)
    moved = {path for path in end if np.any(end[path] != start[path])}
    assert any(path.startswith("sold") for path in moved)
    assert not any(path.startswith(("kind", "price")) for path in moved)
    # Frozen layers of the backbone are still frozen.
    assert "dense_0/kernel" not in moved and "dense_1/kernel" in moved
    np.testing.assert_array_equal(
        model.predict(x_test, verbose=0)["kind"], before["kind"]
    )


def test_errors():
    model = problems.model(("kind", "price"))
    with error_with(ValueError, "same beside new tasks", "['kind_output']"):
        add_tasks(model, [mtl.Task("kind", mtl.heads.Classification(4))])
    with error_with(ValueError, "one backbone", "SoftSharing"):
        soft = mtl.build_model(problems.backbone(), OLD, architecture="soft")
        add_tasks(soft, NEW)
