"""The package imports downwards only: a part may use those above it in the list."""

import ast
import pathlib

import pytest

import keras_mtl

LAYERS = [
    {"utils", "_version"},
    {"linalg", "task", "layers", "distribution"},
    {"heads", "backbones", "architectures", "balancers", "weightings", "data", "plots"},
    {"training"},
    {"callbacks", "continual", "analysis", "export"},
    {"cli"},
]
PACKAGE = pathlib.Path(keras_mtl.__file__).parent
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
KERAS_ONLY = ("balancers", "weightings", "linalg")


def part_of(path):
    """First-level part of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def files_of(*parts):
    """Files of the named parts, of all of them by default."""
    files = [p for p in sorted(PACKAGE.rglob("*.py")) if part_of(p) != "__init__"]
    return [p for p in files if not parts or part_of(p) in parts]


def imports(path):
    """Absolute names of everything that a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def imported_parts(path):
    """First-level parts of keras_mtl that a file imports."""
    for name in imports(path):
        package, *rest = name.split(".")
        if package == "keras_mtl" and rest:
            yield rest[0]


def test_imports_point_downwards():
    files = files_of()
    assert files
    for path in files:
        part = part_of(path)
        assert part in DEPTH, f"{path}: unknown part, give it a line in LAYERS"
        for other in imported_parts(path):
            assert other in DEPTH, f"{path} imports keras_mtl.{other}: import the part"
            downwards = other == part or DEPTH[other] < DEPTH[part]
            assert downwards, f"{path} imports {other}"


@pytest.mark.parametrize("part", KERAS_ONLY)
def test_methods_use_keras_and_numpy_only(part):
    """The parts that they import, too; so that they run on any Keras backend."""
    parts, seen = [part], set()
    while parts:
        current = parts.pop()
        if current in seen:
            continue
        seen.add(current)
        assert files_of(current)
        for path in files_of(current):
            packages = {name.split(".")[0] for name in imports(path)}
            foreign = packages & {"tensorflow", "torch", "jax", "scipy"}
            assert not foreign, f"{path} imports {foreign}"
            parts += imported_parts(path)
            if current in KERAS_ONLY:
                assert packages <= {"keras", "keras_mtl", "numpy", "typing"}, path


@pytest.mark.parametrize(
    "folder", sorted({p.parent.name for p in files_of() if p.parent != PACKAGE})
)
def test_public_names_are_listed(folder):
    """`__all__` is written by hand, and what it lists is there."""
    file = next(p for p in files_of() if p.parent.name == folder)
    path = file.with_name("__init__.py")
    assert path.exists(), f"{file.parent}: no __init__.py, so no installed package"
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path}: no docstring"
    listed = [
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    ]
    names = ast.literal_eval(listed[0].value) if listed else []
    assert len(set(names)) == len(names)
    imported = {name.split(".")[-1] for name in imports(path)} | {"get"}
    assert set(names) <= imported
