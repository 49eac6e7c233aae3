"""A run that is killed and started again ends where an uninterrupted one ends."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = pathlib.Path(__file__).with_name("resume_run.py")
ROOT = SCRIPT.parents[2]


def run(folder, *options):
    """Runs the script; returns its exit status (negative: the signal)."""
    folder.mkdir(exist_ok=True)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), *options],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode > 0:
        pytest.fail(done.stderr)
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kill", "options"),
    [
        (("2", "3"), ()),
        (("1", "0"), ("--strategy", "mirrored")),
        (("2", "3"), ("--steps-per-execution", "2")),
    ],
    ids=["plain", "two replicas", "two steps at a time"],
)
def test_killed_and_resumed_equals_uninterrupted(tmp_path, kill, options):
    assert run(tmp_path / "whole", *options) == 0
    killed = tmp_path / "killed"
    assert run(killed, "--kill", *kill, *options) == -signal.SIGKILL
    assert not (killed / "weights.npy").exists()
    assert (killed / "backup").exists()
    assert run(killed, *options) == 0
    whole, resumed = (
        np.load(folder / "weights.npy") for folder in (tmp_path / "whole", killed)
    )
    np.testing.assert_array_equal(resumed, whole)
    if options[:1] == ("--strategy",):
        assert run(tmp_path / "one") == 0
        one = np.load(tmp_path / "one" / "weights.npy")
        np.testing.assert_allclose(whole, one, rtol=1e-4, atol=1e-5)
