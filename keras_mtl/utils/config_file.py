"""Configuration files as plain values with their lines, and changes to them."""

import os
import re
import tomllib

import yaml

from keras_mtl.utils.config_errors import Path, nearest

COMPONENT_KEYS = ("class_name", "config", "module", "registered_name", "build_config")


class _Loader(yaml.SafeLoader):
    """YAML in which `1e-3` is a number: PyYAML follows YAML 1.1, where it is text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+"),
    list("-+.0123456789"),
)


def read_file(file: str) -> tuple[dict, dict[Path, int]]:
    """Reads a configuration file, without a look at what it says.

    Args:
        file: Name of the file; its ending tells the format.

    Returns:
        The values, and a dict from path to line, which is empty for TOML.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged; the message names file and line.

    Example:

    ```python
    tree, lines = read_file("examples/digits.yaml")
    tree["fit"], lines["fit", "epochs"]
    ```
    """
    suffix = os.path.splitext(file)[1].lower()
    if suffix not in (".yaml", ".yml", ".toml"):
        raise ValueError(
            "Expected a configuration file to be named .yaml, .yml or .toml. "
            f"Received: {file!r}"
        )
    try:
        with open(file, "rb") as stream:
            raw = stream.read()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"Expected a configuration file. Received: {file!r}, which does not exist"
        ) from error
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise _damaged(file, raw.count(b"\n", 0, error.start) + 1, error) from error
    read = _read_toml if suffix == ".toml" else _read_yaml
    tree, lines = read(file, text)
    if not isinstance(tree, dict):
        raise ValueError(
            f"{file}: Expected keys and values. Received: {type(tree).__name__}"
        )
    return tree, lines


def _read_toml(file, text):
    try:
        return tomllib.loads(text), {}
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        last = text.rstrip().count("\n") + 1
        raise _damaged(file, line[1] if line else last, error) from error


def _read_yaml(file, text):
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines = dict(_lines(node, ()))
        return (None if node is None else loader.construct_document(node)), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise _damaged(file, line, error.problem or error.context) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _damaged(file, line, error.reason) from error
    finally:
        if loader is not None:
            loader.dispose()


def _damaged(file, line, reason):
    return ValueError(f"{file}, line {line}: the file is damaged: {reason}")


def _lines(node, path):
    """Path and line of every value below a YAML node; raises for a key given twice."""
    if node is None:
        return
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, entry in enumerate(node.value):
            yield from _lines(entry, (*path, index))
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} is given twice",
                    problem_mark=key.start_mark,
                )
            if isinstance(key.value, str):
                seen.add(key.value)
                yield from _lines(value, (*path, key.value))
                # The line of the key, where a reader looks.
                yield (*path, key.value), key.start_mark.line + 1


def change(tree: dict, setting: str) -> Path:
    """Makes one change in a configuration that is still a dict.

    Args:
        tree: The configuration, changed in place.
        setting: `"path.to.key=value"`, as for `read_config`.

    Returns:
        The path of what was changed.

    Raises:
        ValueError: If it is not of that form, or leads to no entry of a list.

    Example:
    >>> tree = {"compile": {"balancer": "cagrad"}}
    >>> change(tree, "compile.balancer.c=0.5")
    ('compile', 'balancer', 'config', 'c')
    >>> tree
    {'compile': {'balancer': {'class_name': 'cagrad', 'config': {'c': 0.5}}}}
    """
    key, equals, text = setting.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise ValueError(
            f"Expected `--set` to be KEY=VALUE. Received: --set {setting!r}"
        )
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(
            f"Expected the value of `--set` to be YAML. Received: --set {setting!r}"
        ) from error
    try:
        return _assign(tree, keys, value)[1]
    except ValueError as error:
        raise ValueError(f"--set {setting}: {error}") from error


def _assign(node, keys, value):
    """The node with the value below it, and the path that was taken."""
    if not keys:
        return value, ()
    node = {} if node is None else node
    node = {"class_name": node} if isinstance(node, str) else node
    key, *rest = keys
    if isinstance(node, list):
        key = _index(node, key)
        node[key], path = _assign(node[key], rest, value)
    elif not isinstance(node, dict):
        raise ValueError(f"Expected something with keys above {key!r}, found {node!r}")
    elif "class_name" in node and key not in COMPONENT_KEYS:
        key = "config"
        node[key], path = _assign(node.get(key), keys, value)
    else:
        # Keys may be numbers (`class_weight`).
        key = next((known for known in node if str(known) == key), key)
        node[key], path = _assign(node.get(key), rest, value)
    return node, (key, *path)


def _index(entries, key):
    if key.lstrip("-").isdigit():
        index = int(key)
        if 0 <= index < len(entries):
            return index
        raise ValueError(f"Expected an index below {len(entries)}. Received: {index}")
    names = [entry.get("name") for entry in entries if isinstance(entry, dict)]
    if key not in names:
        known = [str(name) for name in names]
        raise ValueError(
            f"Expected an index, or one of the names {known}. "
            f"Received: {key!r}.{nearest(key, known)}"
        )
    return next(
        index
        for index, entry in enumerate(entries)
        if isinstance(entry, dict) and entry.get("name") == key
    )
