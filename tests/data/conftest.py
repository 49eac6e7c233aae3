"""Files of one's own, with their schema."""

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a schema file beside its data; `a_csv=…` is the file `a.csv`."""

    def write(head, body, **files):
        for name, text in files.items():
            raw = text if isinstance(text, bytes) else text.encode()
            (tmp_path / name.replace("_", ".", 1)).write_bytes(raw)
        path = tmp_path / "schema.yaml"
        path.write_text(f"{head}\n{body}")
        return path

    return write
