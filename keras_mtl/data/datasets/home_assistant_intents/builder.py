"""The `tensorflow_datasets` builder of `home_assistant_intents`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_mtl.data import fetcher
from keras_mtl.data.datasets.home_assistant_intents import grammar
from keras_mtl.data.datasets.home_assistant_intents.vocabulary import WORDS

_INTENTS = """
Broadcast CancelAllTimers CancelTimer ClimateGetTemperature ClimateSetFanMode
ClimateSetTemperature DecreaseTimer FanSetSpeed GetCurrentDate GetCurrentTime GetState
GetWeather IncreaseTimer LawnMowerDock LawnMowerStartMowing LightSet ListAddItem
ListCompleteItem ListRemoveItem MediaNext MediaPause MediaPlayerMute MediaPlayerUnmute
MediaPrevious MediaSearchAndPlay MediaUnpause Nevermind PauseTimer Respond SetPosition
SetVolume SetVolumeRelative ShoppingListAddItem ShoppingListCompleteItem StartTimer
TimerStatus TurnOff TurnOn UnpauseTimer VacuumCleanArea VacuumReturnToBase VacuumStart
"""
INTENTS = tuple(f"Hass{name}" for name in _INTENTS.split())
_SLOTS = """
area brightness color conversation_command device_class fan_mode floor hours item
media_class message minutes name percentage position search_query seconds start_hours
start_minutes start_seconds state temperature volume_level volume_step
"""
# Slots that are filled with several words, sometimes.
_LONG = """
area conversation_command device_class item media_class message name search_query
state temperature
"""
SLOT_TAGS = (
    *("O", *(f"B-{slot}" for slot in _SLOTS.split())),
    *(f"I-{slot}" for slot in _LONG.split()),
)
DRAWS = 40  # of each template
_SEED = 20246

_CARD = """\
Home Assistant intents: GENERATED commands to a smart home, in English. Two tasks on one
sentence: its intent (42 classes) and the slot of every word (24 slots, as B-, I- and
O). The grammar is the one that the product understands; no person said these sentences.

Source: data/en.json of the pip package home-assistant-intents 2026.10.27: 856 templates
and the rules and lists that they use. What the grammar leaves open (names of rooms and
devices, things to buy, free text) is filled with words of
`keras_mtl.data.datasets.home_assistant_intents.vocabulary`.

Licence: Apache-2.0 (package); the words are this package's.

How it is made: 40 sentences are drawn from each template, each choice of the grammar
with equal probability, and a sentence that is there already is left out.

Splits: by template, within every intent, about 70, 10 and 20 % of its templates, before
anything is drawn, so that no template is in two of them; a sentence of a template of
validation or test that one of train gives too is left out. Of the 42 intents three have
a single template, which is in train, and eight have two, one of them in test.
"template" is its number.

Leaks and limits: templates of one intent differ in few words and use the same rules and
lists, so test scores say little about what people say. Sentences may make no sense (to
lock a kettle). Intents are as uneven as their templates: 122 for GetState.
"""

_CITATION = """\
@misc{home_assistant_intents,
  title={Home Assistant Intents},
  author={{Home Assistant}},
  howpublished={Python package home-assistant-intents, version 2026.10.27}, year={2026}
}
"""


def load_grammar() -> dict[str, Any]:
    """Reads the English grammar, fetching its package if need be.

    Returns:
        The content of `en.json`: "intents", "lists" and "expansion_rules".

    Raises:
        ValueError: If it lacks one of them.

    Example (downloads 0.8 MB if the package is neither installed nor cached):

    ```python
    len(load_grammar()["intents"])  # 42
    ```
    """
    with fetcher.open_file("home-assistant-intents", "data/en.json") as file:
        content = json.load(file)
    missing = {"intents", "lists", "expansion_rules"} - set(content)
    if missing:
        raise ValueError(
            "Expected en.json to have intents, lists and expansion_rules. "
            f"Received: keys={sorted(content)}, which lack {sorted(missing)}"
        )
    return content


def list_templates(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All templates as `(intent, template)`, each once, in the order of the file."""
    found = [
        (intent, template)
        for intent, entry in content["intents"].items()
        for block in entry["data"]
        for template in block["sentences"]
    ]
    return list(dict.fromkeys(found))


def split_templates(intents: list[str]) -> dict[str, list[int]]:
    """Divides the templates of every intent: about 70, 10 and 20 %.

    Args:
        intents: The intent of every template.

    Returns:
        Sorted numbers of templates by split: train, validation, test.

    Example:

    >>> split_templates(["pause"] * 2 + ["state"])
    {'train': [0, 2], 'validation': [], 'test': [1]}
    """
    parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for number, intent in enumerate(sorted(set(intents))):
        rows = [row for row, found in enumerate(intents) if found == intent]
        # RandomState: NumPy promises that its stream never changes.
        order = np.random.RandomState([_SEED, number]).permutation(rows).tolist()
        test = max(round(0.2 * len(rows)), int(len(rows) > 1))
        validation = max(round(0.1 * len(rows)), int(len(rows) > 2))
        parts["test"] += order[:test]
        parts["validation"] += order[test : test + validation]
        parts["train"] += order[test + validation :]
    return {split: sorted(rows) for split, rows in parts.items()}


def make_examples(
    content: Mapping[str, Any], parts: Mapping[str, list[int]], draws: int
) -> dict[str, list[dict]]:
    """Draws the sentences of all splits; none of them is there twice.

    Args:
        content: The grammar.
        parts: Numbers of templates by split; earlier splits keep a common sentence.
        draws: Number of draws from each template.

    Returns:
        Examples by split.
    """
    rules = {
        name: grammar.parse(rule) for name, rule in content["expansion_rules"].items()
    }
    entries = {name: _entries(entry) for name, entry in content["lists"].items()}
    entries |= {name: _texts(words.split("|")) for name, words in WORDS.items()}
    templates = list_templates(content)
    seen: set[tuple[str, ...]] = set()
    found: dict[str, list[dict]] = {split: [] for split in parts}
    for split, numbers in parts.items():
        for number in numbers:
            intent, template = templates[number]
            tree = grammar.parse(template)
            random = np.random.RandomState([_SEED, number, 1])

            def fill(name, random=random):
                choices = entries[name]
                choice = choices[random.randint(len(choices))]
                drawn = grammar.draw(choice, rules, fill, random)
                return "".join(text for text, _ in drawn)

            for _ in range(draws):
                tokens, tags = grammar.tagged_tokens(
                    grammar.draw(tree, rules, fill, random)
                )
                if tuple(tokens) not in seen:
                    seen.add(tuple(tokens))
                    facts = {"intent": intent, "template": number}
                    found[split].append({"tokens": tokens, "slots": tags} | facts)
    return found


def _texts(texts):
    return [("text", str(text)) for text in texts]


def _entries(entry):
    """Trees of the entries of a list; none where the user has to know them."""
    if "values" in entry:
        return [grammar.parse(value["in"]) for value in entry["values"]]
    if "range" in entry:
        bounds = entry["range"]
        steps = range(bounds["from"], bounds["to"] + 1, bounds.get("step", 1))
        return _texts(steps)
    return []


class HomeAssistantIntents(tfds.core.GeneratorBasedBuilder):
    """Builder of `home_assistant_intents`; its card is `builder.info.description`.

    Example (prepares about 5 MB below the data folder of TFDS at the first call):

    ```python
    import tensorflow_datasets as tfds
    import keras_mtl.data.datasets

    dataset, info = tfds.load("home_assistant_intents", split="train", with_info=True)
    ```
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Generated, split by template."}

    def _info(self) -> tfds.core.DatasetInfo:
        of_word = tfds.features.ClassLabel(names=list(SLOT_TAGS))
        features = {
            "tokens": tfds.features.Sequence(tfds.features.Text()),
            "slots": tfds.features.Sequence(of_word),
            "intent": tfds.features.ClassLabel(names=list(INTENTS)),
            "template": tfds.features.Scalar(dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_CARD,
            features=tfds.features.FeaturesDict(features),
            citation=_CITATION,
            license="Apache-2.0",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # the file comes out of a pip package
        content = load_grammar()
        intents = [intent for intent, _ in list_templates(content)]
        made = make_examples(content, split_templates(intents), DRAWS)
        return {
            split: self._generate_examples(examples) for split, examples in made.items()
        }

    def _generate_examples(self, examples: list[dict]) -> Iterator[tuple[int, dict]]:
        yield from enumerate(examples)
