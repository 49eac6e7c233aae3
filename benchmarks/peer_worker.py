"""A process that trains one case with a library for PyTorch; see `step_time.py`.

Run by the interpreter of an environment with `requirements-peers.txt`; the commands and
answers are those of `step_worker.py`. Variants:

    torch:plain              PyTorch, one backward pass of the sum
    libmtl:METHOD            LibMTL
    torchjd:METHOD           TorchJD, one backward pass after the other
    torchjd-parallel:METHOD  its default, all at once by `torch.vmap`
    torchjd-gram:METHOD      its Gramian engine, then one weighted backward pass
"""

import importlib.util
import itertools
import json
import sys
import types

import numpy as np
import setting  # before PyTorch
import torch
from torch import nn

torch.set_num_threads(setting.THREADS)

_BATCHES = 8
_DEVICE = torch.device("cuda" if setting.GPU else "cpu")


def peak_megabytes() -> float:
    """The largest memory of this process so far, on the GPU if that is what works."""
    if setting.GPU:
        return torch.cuda.max_memory_allocated() / 2**20
    return setting.peak_megabytes()


def backbone(name: str, layout: torch.memory_format):
    """The backbone of `workloads.py` in PyTorch, its width and its batches."""
    rng = np.random.default_rng(0)
    if name == "mlp":
        widths = (64, 512, 512, 512)
        layers = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        x = rng.standard_normal((_BATCHES, 256, 64)).astype("float32")
        return nn.Sequential(*layers), 512, torch.from_numpy(x).to(_DEVICE)
    if name == "cnn":
        widths = (3, 32, 64, 128, 128)
        layers = []
        for a, b in itertools.pairwise(widths):
            convolution = nn.Conv2d(a, b, 3, padding=1, bias=False)
            layers += [convolution, nn.MaxPool2d(2), nn.BatchNorm2d(b), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        net = nn.Sequential(*layers).to(memory_format=layout)
        x = rng.standard_normal((_BATCHES, 64, 3, 32, 32)).astype("float32")
        batches = [b.to(memory_format=layout) for b in torch.from_numpy(x).to(_DEVICE)]
        return net, 128, batches
    x = torch.from_numpy(rng.integers(0, 1000, (_BATCHES, 32, 64)))
    return Transformer(), 128, x.to(_DEVICE)


class Block(nn.Module):
    """A pre-norm block of the transformer."""

    def __init__(self):
        super().__init__()
        self.norm_attention, self.norm_dense = nn.LayerNorm(128), nn.LayerNorm(128)
        self.qkv, self.out = nn.Linear(128, 384), nn.Linear(128, 128)
        self.wide, self.narrow = nn.Linear(128, 512), nn.Linear(512, 128)

    def forward(self, x):
        rows, tokens, width = x.shape
        parts = self.qkv(self.norm_attention(x)).view(rows, tokens, 3, 4, 32)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        x = x + self.out(attended.transpose(1, 2).reshape(rows, tokens, width))
        return x + self.narrow(nn.functional.gelu(self.wide(self.norm_dense(x))))


class Transformer(nn.Module):
    """Four blocks over the tokens, and the mean."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(1000, 128)
        self.blocks = nn.Sequential(*(Block() for _ in range(4)))

    def forward(self, tokens):
        return self.blocks(self.embedding(tokens)).mean(1)


class Trainer:
    """Backbone, one linear head per task, mean squared errors, Adam."""

    def __init__(self, case: str, variant: str):
        torch.manual_seed(0)
        name, count = case.split("-")
        library, _, method = variant.partition(":")
        # The faster layout for images; LibMTL's `view` of gradients refuses it.
        layout = torch.channels_last
        if library == "libmtl":
            layout = torch.contiguous_format
        self.backbone, width, self.x = backbone(name, layout)
        self.backbone.to(_DEVICE)
        heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(int(count)))
        self.heads = heads.to(_DEVICE)
        rng = np.random.default_rng(1)
        shape = (_BATCHES, int(count), len(self.x[0]), 1)
        y = torch.from_numpy(rng.standard_normal(shape).astype("float32"))
        self.y = y.to(_DEVICE)
        parameters = [*self.backbone.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.Adam(parameters, fused=True)
        make = {"torch": _plain, "libmtl": _libmtl}.get(library, _torchjd)
        self.backward = make(self, library, method)
        self.seen = 0

    def seconds(self, number: int) -> float:
        """Seconds that so many steps of training take."""
        start = setting.seconds()
        self.train(number)
        if setting.GPU:
            torch.cuda.synchronize()
        return setting.seconds() - start

    def train(self, number: int) -> None:
        """Trains for so many steps."""
        mse = nn.functional.mse_loss
        for _ in range(number):
            x, y = self.x[self.seen % _BATCHES], self.y[self.seen % _BATCHES]
            self.seen += 1
            self.optimizer.zero_grad()
            features = self.backbone(x)
            pairs = zip(self.heads, y, strict=True)
            losses = [mse(head(features), labels) for head, labels in pairs]
            self.backward(losses, features)
            self.optimizer.step()


def _plain(trainer, library, method):
    return lambda losses, features: sum(losses).backward()


def _libmtl(trainer, library, method):
    """LibMTL's weighting classes, which its trainer mixes into the model."""
    # Not by its `__init__`: that needs a part of torchvision which is gone.
    found = importlib.util.find_spec("LibMTL")
    package = types.ModuleType("LibMTL")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["LibMTL"] = package
    from LibMTL import weighting

    names = {"pcgrad": "PCGrad", "mgda": "MGDA", "cagrad": "CAGrad", "imtl_g": "IMTL"}
    kind = getattr(weighting, names.get(method, method))

    class Model(kind):
        def __init__(self):
            super().__init__()
            self.task_num, self.rep_grad = len(trainer.heads), False
            self.device = _DEVICE
            self.task_name = [str(index) for index in range(self.task_num)]

        def get_share_params(self):
            return trainer.backbone.parameters()

        def zero_grad_share_params(self):
            trainer.backbone.zero_grad(set_to_none=False)

    model = Model()
    model.init_param()
    settings = {"mgda_gn": "none", "calpha": 0.5, "rescale": 1}
    return lambda losses, features: model.backward(losses, **settings)


def _torchjd(trainer, library, method):
    from torchjd import aggregation, autogram, autojac

    names = {"pcgrad": "PCGrad", "mgda": "MGDA", "cagrad": "CAGrad"}
    names |= {"upgrad": "UPGrad", "nash_mtl": "NashMTL", "fairgrad": "FairGrad"}
    name = names.get(method, method)
    count = len(trainer.heads)
    settings = {
        "CAGrad": {"c": 0.5},
        "NashMTL": {"n_tasks": count},
        "FairGrad": {"alpha": 1.0},
    }.get(name, {})
    shared = list(trainer.backbone.parameters())
    if library == "torchjd-gram":
        engine = autogram.Engine(trainer.backbone, batch_dim=None)
        weighting = getattr(aggregation, f"{name}Weighting")(**settings)

        def by_gram(losses, features):
            stacked = torch.stack(losses)
            stacked.backward(weighting(engine.compute_gramian(stacked)))

        return by_gram
    aggregator = getattr(aggregation, name)(**settings)
    chunk = None if library == "torchjd-parallel" else 1

    def backward(losses, features):
        autojac.mtl_backward(losses, features=features, parallel_chunk_size=chunk)
        autojac.jac_to_grad(shared, aggregator)

    return backward


def main(case: str, variant: str) -> None:
    """Builds, warms up, then answers commands until the input ends."""
    imported = peak_megabytes()
    trainer = Trainer(case, variant)
    trainer.seconds(2)
    rough = trainer.seconds(4) / 4
    print(json.dumps({"rough": rough}), flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "measure":
            steps = int(arguments[0])
            answer = {"seconds": trainer.seconds(steps) / steps}
        else:
            answer = {"megabytes": peak_megabytes() - imported}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
