"""Reads the catalogues of GNU gettext: compiled (`.mo`), and comments of sources."""

import re
import struct

_MAGIC = 0x950412DE
_DEFAULT = re.compile(
    r'^#\. Default: "(.*)"\n(?:#.*\n)*msgid ((?:".*"\n)+)', re.MULTILINE
)


def read_mo(content: bytes) -> dict[str, str]:
    """Translations by their key, as they stand in the file.

    A key is the message; with the context before it and `"\\x04"` between them; of a
    message with a plural both forms with `"\\0"` between them. So are the forms of its
    translation. Python's own reader hides the plurals of the messages.

    Args:
        content: The content of the file.

    Returns:
        Dict of strings, without the empty key, which holds the header.

    Raises:
        ValueError: If it is no such file, or is cut.

    Reference:
        [The format of GNU MO files](https://www.gnu.org/software/gettext/manual/html_node/MO-Files.html)
    """
    try:
        magic = struct.unpack_from("<I", content)[0]
        order = "<" if magic == _MAGIC else ">"
        if struct.unpack_from(order + "I", content)[0] != _MAGIC:
            raise struct.error("another magic number")
        size, *tables = struct.unpack_from(order + "3I", content, 8)
        columns = [
            [_text(content, order, table + 8 * index) for index in range(size)]
            for table in tables
        ]
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(
            "Expected a compiled catalogue of GNU gettext (.mo) in UTF-8. Received: "
            f"{len(content)} bytes that begin with {content[:4]!r}"
        ) from error
    return {key: value for key, value in zip(*columns, strict=True) if key}


def read_defaults(content: bytes) -> dict[str, str]:
    """English texts of messages that are named by an identifier, from their comments.

    Plone writes them above the message, in one line: `#. Default: "Title"`.

    Args:
        content: The content of a source (`.po`), in UTF-8.

    Returns:
        Dict from the identifier to the text, of the messages with such a comment.

    Example:

    >>> read_defaults(b'#. Default: "Title"\\n#: edit.pt\\nmsgid "label_title"\\n')
    {'label_title': 'Title'}
    """
    return {
        "".join(_unescaped(line) for line in key.splitlines()): _unescaped(f'"{text}"')
        for text, key in _DEFAULT.findall(content.decode())
    }


def _unescaped(quoted):
    """The string between the quotes."""
    special = {"n": "\n", "t": "\t"}
    return re.sub(r"\\(.)", lambda m: special.get(m[1], m[1]), quoted[1:-1])


def _text(content, order, place):
    length, start = struct.unpack_from(order + "2I", content, place)
    if start + length > len(content):
        raise struct.error("the file is cut")
    return content[start : start + length].decode()
