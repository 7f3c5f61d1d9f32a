"""A second device, simulated: for machines without one, so that ids on the wrong device are found there too.

Its tensors lie in the memory of the CPU and say that they lie on "cuda". Whatever is computed from one lies there too; one
of them and one of the CPU in the same operation is an error, as on a real device, and so is reading one as numpy's.
"""

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda")
MIXED = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"


class Elsewhere(TorchFunctionMode):
    """While it lasts, there is that device. `put` moves a model there."""

    def __init__(self):
        super().__init__()
        self.there = {}  # by id: the tensors themselves, so that no id is used twice

    def put(self, model: nn.Module) -> nn.Module:
        for tensor in (*model.parameters(), *model.buffers()):
            self._put(tensor)
        return model

    def _put(self, result: object) -> object:
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.there[id(leaf)] = leaf
        return result

    def _is_there(self, tensor: Tensor) -> bool:
        return id(tensor) in self.there

    def __torch_function__(self, function, types, arguments=(), named=None):
        named = dict(named or {})
        tensors = [leaf for leaf in tree_leaves((arguments, named)) if isinstance(leaf, Tensor)]
        there = [tensor for tensor in tensors if self._is_there(tensor)]
        name = getattr(function, "__name__", "")
        if function == Tensor.device.__get__:
            return CUDA if there else function(*arguments)
        if there and name in ("cpu", "numpy", "tolist", "item"):
            if name == "numpy":
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
            return function(*arguments, **named).clone() if name == "cpu" else function(*arguments, **named)
        asked = [leaf for leaf in tree_leaves((arguments, named)) if isinstance(leaf, (torch.device, str))]
        devices = [torch.device(leaf) for leaf in asked if str(leaf).split(":")[0] in ("cuda", "cpu")]
        if name == "to" and devices:
            moved = arguments[0].clone()
            return self._put(moved) if devices[0].type == "cuda" else moved
        if devices and not tensors:
            made = function(*arguments, **(named | {"device": "cpu"}))
            return self._put(made) if devices[0].type == "cuda" else made
        if there and any(tensor.dim() and not self._is_there(tensor) for tensor in tensors):
            raise RuntimeError(f"{MIXED} ({name})")
        result = function(*arguments, **named)
        return self._put(result) if there else result
