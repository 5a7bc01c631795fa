"""PyTorch's side of the suite `language`: nn.Embedding, recurrent layers, nn.Linear, cross-entropy, clipping, SGD."""

import numpy as np
import torch

from recurlab.bench.torch_peer import MODULES, competitor

OWN = {"embedding.weight": "weight_embedding", "out.weight": "weight_out", "out.bias": "bias_out"}


class Training:
    """A language model in training: parameters and states from one update to the next."""

    def __init__(self, setting, rate: float, clip: float, dtype: str):
        case, words = setting.case, len(setting.params["bias_out"])
        name, options = MODULES[case.cell]
        layers = getattr(torch.nn, name)(case.I, case.H, setting.layers, **options)
        parts = {
            "embedding": torch.nn.Embedding(words, case.I),
            "layers": layers,
            "out": torch.nn.Linear(case.H, words),
        }
        self.model = torch.nn.ModuleDict(parts).to(getattr(torch, dtype))
        with torch.no_grad():
            for key, value in self.model.named_parameters():
                value.copy_(torch.from_numpy(setting.params[own_name(key)]))
        self.ids, self.targets = (torch.from_numpy(array.astype(np.int64)) for array in (setting.ids, setting.targets))
        self.rule, self.clip, self.state = torch.optim.SGD(self.model.parameters(), lr=rate), clip, None

    def loss(self) -> torch.Tensor:
        """Mean cross-entropy; the model's gradients are set and the states go on."""
        self.rule.zero_grad(set_to_none=True)
        y, state = self.model["layers"](self.model["embedding"](self.ids), self.state)
        self.state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        z = self.model["out"](y)
        loss = torch.nn.functional.cross_entropy(z.reshape(-1, z.shape[-1]), self.targets.reshape(-1))
        loss.backward()
        return loss.detach()

    def update(self) -> None:
        """One whole update."""
        self.loss()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.rule.step()


def own_name(key: str) -> str:
    """recurlab's name of a parameter."""
    return OWN.get(key, key.removeprefix("layers."))


def gradients(training: Training) -> dict:
    """Loss and gradients under recurlab's names."""
    loss = training.loss()
    grads = {own_name(key): value.grad.numpy() for key, value in training.model.named_parameters()}
    return {"loss": loss.numpy(), **grads}


def language(setting, threads: int, rate: float, clip: float):
    """A whole update on so many threads."""
    return competitor("torch eager", Training(setting, rate, clip, setting.case.dtype).update, threads)
