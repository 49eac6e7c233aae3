"""Further tasks for a model that is trained, without losing what it knows."""

from keras_mtl.continual.elastic import fisher_information, protect
from keras_mtl.continual.extension import add_tasks

__all__ = ["add_tasks", "fisher_information", "protect"]
