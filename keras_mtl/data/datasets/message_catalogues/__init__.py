"""The dataset `message_catalogues`: messages of programs in three languages."""

from keras_mtl.data.datasets.message_catalogues.builder import (
    APPLICATIONS,
    MessageCatalogues,
)

__all__ = ["APPLICATIONS", "MessageCatalogues"]
