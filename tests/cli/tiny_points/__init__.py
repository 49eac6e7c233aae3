"""A dataset that is prepared in a second; TFDS wants a folder per builder."""

from tests.cli.tiny_points.builder import TinyPoints

__all__ = ["TinyPoints"]
