"""A BERT small enough for tests: tokenizer, network, and a folder that holds both."""

import functools
import json

import keras
import keras_hub
import numpy as np
from safetensors.numpy import save_file

LAYERS, HEADS, WIDTH, INNER, LONGEST = 3, 2, 8, 12, 24
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["play", "walk", "cat", "dog", "the", "a", "in", "red", "un", "!", ",", "x"]
SUFFIXES = ["##ing", "##ed", "##s", "##er", "##play", "##x"]
VOCABULARY = SPECIAL + PIECES + SUFFIXES
CONFIG = {
    "vocabulary_size": len(VOCABULARY),
    "num_layers": LAYERS,
    "num_heads": HEADS,
    "hidden_dim": WIDTH,
    "intermediate_dim": INNER,
    "max_sequence_length": LONGEST,
}


@functools.cache
def tokenizer():
    return keras_hub.models.BertTokenizer(VOCABULARY, lowercase=True)


def network(seed=0, **changes):
    """A BERT whose variables are large enough to make a difference."""
    bert = keras_hub.models.BertBackbone(**{**CONFIG, **changes})
    random = np.random.default_rng(seed)
    for variable in bert.weights:
        variable.assign(0.5 * random.normal(size=variable.shape))
    return bert


def tokens(rows, length):
    """Random texts of 2 to 7 tokens, padded to a length."""
    random = np.random.default_rng(1)
    lengths = 2 + np.arange(rows) % 6
    ids = random.integers(5, len(VOCABULARY), (rows, 7))
    mask = np.arange(7) < lengths[:, None]
    segments = (np.arange(7) >= 3) & mask
    x = {"token_ids": ids * mask, "padding_mask": mask, "segment_ids": segments}
    return {
        name: np.pad(values.astype("int32"), ((0, 0), (0, length - 7)))
        for name, values in x.items()
    }


def weights(seed=0):
    """Random weights by their names in Hugging Face's files."""
    random = np.random.default_rng(seed)
    shapes = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": (LONGEST, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "pooler.dense.weight": (WIDTH, WIDTH),
        "pooler.dense.bias": (WIDTH,),
    }
    norms = ["embeddings.LayerNorm"]
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        dense = {
            "attention.self.query": (WIDTH, WIDTH),
            "attention.self.key": (WIDTH, WIDTH),
            "attention.self.value": (WIDTH, WIDTH),
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (INNER, WIDTH),
            "output.dense": (WIDTH, INNER),
        }
        for name, shape in dense.items():
            shapes[f"{layer}.{name}.weight"] = shape
            shapes[f"{layer}.{name}.bias"] = shape[:1]
    for name in norms:
        shapes |= {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}
    return {
        name: (0.5 * random.normal(size=shape)).astype("float32")
        for name, shape in shapes.items()
    }


def write_folder(folder, seed=0, **settings):
    """Writes network and tokenizer in Hugging Face's layout; returns the weights.

    `settings` are those of the tokenizer, beside lower case.
    """
    settings = {"do_lower_case": True, **settings}
    config = {
        "model_type": "bert",
        "vocab_size": len(VOCABULARY),
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "max_position_embeddings": LONGEST,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    made = weights(seed)
    save_file(made, folder / "model.safetensors")
    return made


def forward(made, x):
    """BERT in NumPy, row by row without any padding; mean and first feature."""

    def dense(x, name):
        return x @ made[f"{name}.weight"].T + made[f"{name}.bias"]

    def norm(x, name):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-12)
        return x * made[f"{name}.weight"] + made[f"{name}.bias"]

    sequences = []
    for row, mask in enumerate(x["padding_mask"]):
        size = int(mask.sum())
        h = made["embeddings.word_embeddings.weight"][x["token_ids"][row, :size]]
        h = h + made["embeddings.position_embeddings.weight"][:size]
        segments = x["segment_ids"][row, :size]
        h = h + made["embeddings.token_type_embeddings.weight"][segments]
        h = norm(h, "embeddings.LayerNorm")
        for i in range(LAYERS):
            layer = f"encoder.layer.{i}"
            q, k, v = (
                dense(h, f"{layer}.attention.self.{part}").reshape(size, HEADS, -1)
                for part in ("query", "key", "value")
            )
            scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(WIDTH // HEADS)
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            scores /= scores.sum(axis=-1, keepdims=True)
            mixed = np.einsum("hqk,khd->qhd", scores, v).reshape(size, WIDTH)
            mixed = dense(mixed, f"{layer}.attention.output.dense")
            h = norm(h + mixed, f"{layer}.attention.output.LayerNorm")
            inner = dense(h, f"{layer}.intermediate.dense")
            inner = keras.ops.gelu(inner, approximate=True).numpy()
            h = norm(
                h + dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm"
            )
        sequences.append(h)
    return sequences
