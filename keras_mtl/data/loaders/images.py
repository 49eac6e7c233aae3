"""Images of one's own files: are they there, and can they be decoded?"""

import os
from typing import Any

import tensorflow as tf


def image_source(raw: Any, shape: tuple[int, ...], file: str) -> str | bytes:
    """Where the pixels come from, once they are known to be an image.

    Args:
        raw: Path, relative to the folder of `file`; or the encoded bytes.
        shape: Height, width, channels.
        file: The file that has `raw`.

    Returns:
        The path, or the bytes, for `decoded`.

    Raises:
        ValueError: If there is no such file, or it is no image.
    """
    source = raw
    if isinstance(raw, str):
        source = os.path.join(os.path.dirname(file), raw)
        if not os.path.isfile(source):
            raise ValueError(f"Expected an image file. Received: {source!r}")
    elif not isinstance(raw, bytes):
        raise ValueError(f"Expected an image, or its path. Received: {raw!r}")
    try:
        decoded(source, shape, is_path=isinstance(source, str))
    except tf.errors.OpError as error:
        reason = str(error.message).strip().splitlines()[0]
        raise ValueError(
            f"Expected a BMP, GIF, JPEG or PNG image. Received: {reason}"
        ) from error
    return source


def decoded(source: Any, shape: tuple[int, ...], *, is_path: bool) -> tf.Tensor:
    """The pixels, uint8 of `shape`; resized (bilinear) if the image has others.

    Args:
        source: String tensor: a path or encoded bytes.
        shape: Height, width, channels.
        is_path: Which of the two.
    """
    raw = tf.io.read_file(source) if is_path else source
    pixels = tf.io.decode_image(raw, channels=shape[-1], expand_animations=False)
    pixels.set_shape([None, None, shape[-1]])
    resized = tf.image.resize(pixels, shape[:2])
    return tf.cast(tf.round(resized), tf.uint8)
