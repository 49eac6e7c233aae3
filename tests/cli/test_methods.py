"""The page "How to choose" is what the docstrings say, for every method."""

import pathlib

import pytest

import keras_mtl as mtl
from keras_mtl.cli import methods
from keras_mtl.cli.main import main
from tests.asserts import error_with

PAGE = pathlib.Path(__file__).parents[2] / "docs/how-to-choose.md"
METHODS = dict(mtl.weightings.registry.items() + mtl.balancers.registry.items())
ARCHITECTURES = dict(mtl.architectures.registry.items())
CLASSES = METHODS | ARCHITECTURES


def complete():
    return type(
        "Complete",
        (),
        {
            "__doc__": """An idea in a line.

    A formula: none.

    Args:
        c: A number.

    Guarantee: None.

    Needs: Two
        lines.

    Cost: One.

    When: Now.

    Example:
    >>> 1
    1

    Reference:
        - [A, 2020](https://a.org), and [B](https://b.org).
        - Theirs differs.
    """
        },
    )


def test_the_page_is_up_to_date(capsys):
    """If not: `keras-mtl methods --markdown > docs/how-to-choose.md`."""
    assert main(["methods", "--markdown"]) == 0
    assert capsys.readouterr().out == PAGE.read_text()


@pytest.mark.parametrize("name", CLASSES)
def test_every_method_has_every_section(name):
    wanted = methods.SECTIONS if name in METHODS else ("Reference",)
    found = methods.sections(CLASSES[name], wanted)
    assert list(found) == list(wanted)
    assert methods.idea(CLASSES[name]).endswith("."), "the idea is one line"
    assert "](http" in found["Reference"]


@pytest.mark.parametrize("name", CLASSES)
def test_the_page_has_every_method(name):
    row = f'| `"{name}"` | {methods.idea(CLASSES[name])} |'
    assert row in PAGE.read_text()


def test_sections():
    assert methods.idea(complete()) == "An idea in a line."
    assert methods.sections(complete()) == {
        "Guarantee": "None.",
        "Needs": "Two lines.",
        "Cost": "One.",
        "When": "Now.",
        "Reference": "- [A, 2020](https://a.org), and [B](https://b.org). "
        "- Theirs differs.",
    }


@pytest.mark.parametrize("missing", methods.SECTIONS)
def test_a_method_without_a_section_is_noticed(missing):
    cls = complete()
    cls.__doc__ = cls.__doc__.replace(f"{missing}:", "Else:")
    with error_with(ValueError, "`Complete`", f"none of ['{missing}']"):
        methods.sections(cls)


def test_a_method_without_a_docstring_is_noticed():
    cls = type("Silent", (mtl.balancers.Balancer,), {})
    with error_with(ValueError, "`Silent`", "'Guarantee'"):
        methods.sections(cls)


def test_an_empty_section_is_noticed():
    cls = complete()
    cls.__doc__ = cls.__doc__.replace("Needs: Two\n        lines.", "Needs:")
    with error_with(ValueError, "none of ['Needs']"):
        methods.sections(cls)


def test_the_list_names_every_method(capsys):
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, cls in CLASSES.items():
        assert any(line.split() == [name, *methods.idea(cls).split()] for line in lines)
    assert max(map(len, lines)) <= 100


def test_one_method_explained(capsys):
    assert main(["methods", "cagrad"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("cagrad: The mean gradient, bent")
    for name in methods.SECTIONS:
        assert f"\n{name}: " in shown
    assert max(map(len, shown.splitlines())) < 80


def test_one_architecture_explained(capsys):
    assert main(["methods", "mmoe"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("mmoe: Experts that all tasks share")
    assert "\nReference: " in shown


def test_an_unknown_method_is_named(capsys):
    assert main(["methods", "cagard"]) == 1
    shown = capsys.readouterr().err
    assert "cagard" in shown
    assert "'cagrad'" in shown
