"""Export: numbered SavedModels for TensorFlow Serving, and their verification."""

from keras_mtl.export.saved_model import export_saved_model
from keras_mtl.export.texts import with_strings
from keras_mtl.export.verify import (
    OutputCheck,
    VerificationReport,
    predict_saved_model,
    verify_saved_model,
)
from keras_mtl.export.versions import list_versions, version_folder

__all__ = [
    "OutputCheck",
    "VerificationReport",
    "export_saved_model",
    "list_versions",
    "predict_saved_model",
    "verify_saved_model",
    "version_folder",
    "with_strings",
]
