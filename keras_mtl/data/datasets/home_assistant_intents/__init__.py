"""The dataset `home_assistant_intents`: what to do, and with which words; generated."""

from keras_mtl.data.datasets.home_assistant_intents.builder import (
    INTENTS,
    SLOT_TAGS,
    HomeAssistantIntents,
)

__all__ = ["INTENTS", "SLOT_TAGS", "HomeAssistantIntents"]
