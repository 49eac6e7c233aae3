"""One way to name a component: by string, by configuration or by instance."""

import difflib
from collections.abc import Callable
from typing import Any

import keras


class Registry:
    """Names the components of one kind.

    Args:
        kind: What the entries are, in the singular, for messages ("balancer").

    Example:
    >>> greetings = Registry("greeting")
    >>> @greetings.register("hello")
    ... class Hello:
    ...     def __init__(self, name="you"):
    ...         self.name = name
    ...     def get_config(self):
    ...         return {"name": self.name}
    >>> greetings.get("hello").name
    'you'
    >>> greetings.get({"class_name": "hello", "config": {"name": "me"}}).name
    'me'
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._classes: dict[str, type] = {}

    def register(self, name: str) -> Callable[[type], type]:
        """Decorator that names a class, and makes it serialisable by Keras."""

        def decorate(cls: type) -> type:
            self._classes[name] = cls
            return keras.saving.register_keras_serializable(package="keras_mtl")(cls)

        return decorate

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._classes)

    def items(self) -> list[tuple[str, type]]:
        """All registered names and their classes, sorted by name."""
        return sorted(self._classes.items())

    def get(self, identifier: Any) -> Any:
        """The component that `identifier` stands for.

        Args:
            identifier: A registered name, a dict `{"class_name": …, "config": …}`
                (`class_name` is a registered name or the name of the class), or
                an object, which is returned as it is.

        Raises:
            ValueError: For an unknown name; the message lists the known names
                and the nearest one.
        """
        if isinstance(identifier, str):
            return self._class_of(identifier)()
        if isinstance(identifier, dict):
            if "module" in identifier or "registered_name" in identifier:
                return keras.saving.deserialize_keras_object(identifier)
            name = identifier.get("class_name")
            if not isinstance(name, str):
                raise ValueError(
                    f"Expected a {self.kind} configuration to be a dict "
                    '`{"class_name": …, "config": …}`. '
                    f"Received: {identifier!r}"
                )
            return self._build(name, identifier.get("config", {}))
        return identifier

    def _build(self, name: str, config: dict) -> Any:
        cls = self._class_of(name)
        try:
            return cls(**config)
        except TypeError as error:
            raise ValueError(
                f"Cannot make the {self.kind} `{name}` from its configuration: "
                f"{error}. Received: config={config!r}"
            ) from error

    def _class_of(self, name: str) -> type:
        for known, cls in self._classes.items():
            if name in (known, cls.__name__):
                return cls
        nearest = difflib.get_close_matches(
            name.lower(), self._classes, n=1, cutoff=0.4
        )
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(
            f"Unknown {self.kind}. Expected one of {self.names()}. "
            f"Received: {name!r}.{hint}"
        )
