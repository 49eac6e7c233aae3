"""The command as a whole: help, exit status, errors without a traceback."""

import pathlib
import subprocess
import sys

import pytest

from keras_mtl.cli import train as train_command
from keras_mtl.cli.main import COMMANDS, main

PACKAGE = pathlib.Path(train_command.__file__).parents[1]


def exits(*words):
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return ended.value.code


def test_help_names_every_command(capsys):
    assert exits("--help") == 0
    shown = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n    {name} " in shown
    assert "example:" in shown
    assert max(map(len, shown.splitlines())) <= 88


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command, capsys):
    assert exits(command, "--help") == 0
    assert f"usage: keras-mtl {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [(), ("trian",), ("train",), ("train", "a", "--sett")]
)
def test_wrong_words(words, capsys):
    assert exits(*words) == 2
    assert "usage: keras-mtl" in capsys.readouterr().err


def test_user_errors_are_one_message(capsys):
    assert main(["train", "nothing.yaml"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("keras-mtl: error: ")
    assert "nothing.yaml" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("before", [True, False])
def test_traceback_on_request(before, capsys):
    words = ["train", "nothing.yaml"]
    flag = ["--traceback"]
    assert main(flag + words if before else words + flag) == 1
    assert "Traceback" in capsys.readouterr().err


def test_interrupted(monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(train_command, "read_config", interrupt)
    assert main(["train", "points.yaml"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_other_errors_are_not_hidden(monkeypatch):
    def fail(*args):
        raise ZeroDivisionError

    monkeypatch.setattr(train_command, "read_config", fail)
    with pytest.raises(ZeroDivisionError):
        main(["train", "points.yaml"])


def test_the_commands_themselves_need_no_tensorflow():
    """What `import keras_mtl` costs is not their business, so it is left out."""
    code = f"""
import sys, types
package = types.ModuleType("keras_mtl")
package.__path__ = [{str(PACKAGE)!r}]
sys.modules["keras_mtl"] = package
from keras_mtl.cli import main
main._parser()
sys.exit(not {{"tensorflow", "keras"}}.isdisjoint(sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
