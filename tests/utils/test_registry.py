"""Components by name, by configuration and by instance."""

import keras
import pytest

import keras_mtl as mtl
from keras_mtl.utils.registry import Registry
from tests.asserts import error_with

animals = Registry("animal")


@animals.register("barn_owl")
class BarnOwl:
    def __init__(self, wings=2):
        self.wings = wings

    def get_config(self):
        return {"wings": self.wings}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@animals.register("red_fox")
class RedFox(BarnOwl):
    pass


@pytest.mark.parametrize(
    ("identifier", "wings"),
    [
        ("barn_owl", 2),
        ("BarnOwl", 2),
        ({"class_name": "barn_owl"}, 2),
        ({"class_name": "barn_owl", "config": {"wings": 3}}, 3),
        ({"class_name": "BarnOwl", "config": {"wings": 4}}, 4),
        (keras.saving.serialize_keras_object(BarnOwl(5)), 5),
        (BarnOwl(6), 6),
    ],
)
def test_identifiers(identifier, wings):
    assert animals.get(identifier).wings == wings


def test_an_object_is_returned_as_it_is():
    owl = BarnOwl()
    assert animals.get(owl) is owl
    assert animals.get(None) is None


def test_a_name_makes_a_new_object_each_time():
    assert animals.get("barn_owl") is not animals.get("barn_owl")


@pytest.mark.parametrize(
    ("identifier", "parts"),
    [
        (
            "barn_awl",
            ["animal", "['barn_owl', 'red_fox']", "'barn_awl'", "mean 'barn_owl'"],
        ),
        ("Red_Fax", ["Did you mean 'red_fox'?"]),
        ({"class_name": "red_fux"}, ["Did you mean 'red_fox'?"]),
        ({"config": {}}, ["animal configuration", '"class_name"', "Received: {"]),
        ({"class_name": 3}, ["animal configuration", "Received: {'class_name': 3}"]),
        (
            {"class_name": "barn_owl", "config": {"wing": 3}},
            ["`barn_owl`", "wing", "config={'wing': 3}"],
        ),
    ],
)
def test_wrong_identifiers(identifier, parts):
    with error_with(ValueError, *parts):
        animals.get(identifier)


def test_nothing_near_no_hint():
    with pytest.raises(ValueError, match="Unknown animal") as error:
        animals.get("zzzzzz")
    assert "Did you mean" not in str(error.value)


PACKAGES = [
    (mtl.heads, "head", mtl.heads.Head),
    (mtl.backbones, "backbone", mtl.backbones.Backbone),
    (mtl.architectures, "architecture", mtl.architectures.Architecture),
    (
        mtl.balancers,
        "balancer",
        (mtl.balancers.Balancer, mtl.balancers.JacobianBalancer),
    ),
    (mtl.weightings, "loss weighting", mtl.weightings.LossWeighting),
]


@pytest.mark.parametrize(("package", "kind", "base"), PACKAGES)
def test_every_package_exposes_get(package, kind, base):
    assert package.registry.kind == kind
    assert package.registry.names() == sorted(package.registry.names())
    with pytest.raises(ValueError, match=f"Unknown {kind}"):
        package.get("no such thing")
    for name in package.registry.names():
        cls = package.registry._class_of(name)
        assert issubclass(cls, base)
        assert cls.__name__ in package.__all__
        assert keras.saving.get_registered_name(cls) == f"keras_mtl>{cls.__name__}"


def test_names_are_snake_case_of_the_class():
    for package, _, _ in PACKAGES:
        for name in package.registry.names():
            cls = package.registry._class_of(name)
            assert cls.__name__.lower().startswith(name.replace("_", "")), name


def test_items_are_sorted_by_name():
    assert animals.items() == [("barn_owl", BarnOwl), ("red_fox", RedFox)]
