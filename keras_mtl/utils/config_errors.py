"""Errors that say where in a configuration file their reason is."""

import contextlib
import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping

Path = tuple[str | int, ...]


class ConfigError(ValueError):
    """A value that cannot be right.

    Args:
        path: Where it is, from the top of the file.
        message: What is wrong.
    """

    def __init__(self, path: Path, message: str):
        super().__init__(message)
        self.path = path


@contextlib.contextmanager
def at(*path: str | int) -> Iterator[None]:
    """Says of the errors inside where in the file their reason is.

    Example:
    >>> try:
    ...     with at("compile", "balancer"):
    ...         raise ValueError("Unknown balancer")
    ... except ConfigError as error:
    ...     print(error.path)
    ('compile', 'balancer')
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError((*path, *error.path), str(error)) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(path, str(error)) from error


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a configuration was read.

    Args:
        file: Name of the file.
        lines: Dict from path to line, where they are known.
    """

    file: str
    lines: Mapping[Path, int] = dataclasses.field(default_factory=dict)

    def located(self, error: ConfigError) -> ValueError:
        """The error with file, line and path in its message."""
        place, line, path = self.file, None, error.path
        while path and line is None:
            line, path = self.lines.get(path), path[:-1]
        place += f", line {line}" if line else ""
        if error.path:
            place += f" ({'.'.join(map(str, error.path))})"
        return ValueError(f"{place}: {error}")


def check_keys(name: str, given: Iterable, known: Iterable[str]) -> None:
    """Raises a `ConfigError` for a key that is not known; it names the nearest."""
    known = sorted(known)
    for key in given:
        if key not in known:
            raise ConfigError(
                (key,),
                f"Unknown key. Expected the keys of `{name}` to be among {known}. "
                f"Received: {key!r}.{nearest(str(key), known)}",
            )


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the known one that is nearest.

    Example:
    >>> nearest("epoch", ["batch_size", "epochs"])
    " Did you mean 'epochs'?"
    """
    by_lower = {entry.lower(): entry for entry in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean {by_lower[found[0]]!r}?" if found else ""
