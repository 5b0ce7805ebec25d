"""Every architecture of the book and the backbones, by name; and your own, once it is registered.

    model = build_model("small_cnn", seed=0)
    model = load_backbone("efficientnet_lite0", input_size=64)     # with its ImageNet weights

    @register("my_net")
    class MyNet(nn.Module): ...

    model = build_model("my_net", seed=0)               # or MyNet(), which knows its name too

A model takes (n, 1, 28, 28) and returns raw logits (n, classes); the one exception is article 000's
network as printed, which returns log-probabilities. `stages` names a model's parts from input to
head, for fine-tuning; the head is called `output`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from mnist_lab.models.architecture import HEAD, remember_architecture
from mnist_lab.models.articles import Article000, Article001, Article002
from mnist_lab.models.backbones import BACKBONES, Backbone, make_backbone
from mnist_lab.models.basic import MLP, Linear, QuickCNN, SmallCNN
from mnist_lab.models.deep import DeepMLP
from mnist_lab.models.lstm import LSTM
from mnist_lab.models.minilm import PatchReader
from mnist_lab.models.resnet import ResNet
from mnist_lab.models.seeding import drawn_from
from mnist_lab.models.vit import VisionTransformer
from mnist_lab.reasons import reason_of, shorten

_Builder = TypeVar("_Builder", bound=Callable[..., nn.Module])

MODELS: dict[str, Callable[..., nn.Module]] = {}


@overload
def register(name: str, builder: _Builder) -> _Builder: ...


@overload
def register(name: str) -> Callable[[_Builder], _Builder]: ...


def register(name: str, builder: Any = None) -> Any:
    """Make a network known under a name: for `build_model`, checkpoints and the command line.

    Use it as `@register("my_net")` over a class, or call it. What is registered is known in this
    process; who loads a checkpoint of it elsewhere registers it there first.

    Parameters
    ----------
    name : str
    builder : class or callable
        Returns an `nn.Module`. The arguments that it is given must be such as JSON can hold, since
        a checkpoint records them; if it takes `classes`, its head can be replaced.

    Raises
    ------
    ValueError
        If another network has that name.
    """
    if builder is None:
        return functools.partial(register, name)
    known = MODELS.get(name)
    if known is not None and not _is_same(known, builder):
        raise ValueError(f"There is another network called {name!r} already: choose a new name.")
    if isinstance(builder, type) and issubclass(builder, nn.Module):
        _remember_what_it_is_given(name, builder)
    MODELS[name] = builder
    return builder


def _is_same(one: Any, other: Any) -> bool:
    """Whether both are one builder; a notebook's cell that runs again makes its class anew."""
    where = [(getattr(b, "__module__", b), getattr(b, "__qualname__", b)) for b in (one, other)]
    return one is other or where[0] == where[1]


def _remember_what_it_is_given(name: str, kind: type[nn.Module]) -> None:
    """Let every instance of a class know its name and arguments, however it is made."""
    make = kind.__init__

    @functools.wraps(make)
    def make_and_remember(self: nn.Module, *positional: Any, **arguments: Any) -> None:
        make(self, *positional, **arguments)
        if type(self) is kind:  # a class that inherits from it is another network
            remember_architecture(self, name, kind, arguments, positional)

    kind.__init__ = make_and_remember  # type: ignore[method-assign]


def build_model(name: str, *, seed: int = 0, **arguments: Any) -> nn.Module:
    """Build the model called `name`, its first weights drawn from `seed` alone.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    seed : int
        Same seed, same weights; torch's global generator is left as it was.
    **arguments
        Passed to the class, such as `width=32` for "small_cnn".

    Raises
    ------
    ValueError
        If there is no such model or it takes no such argument.
    """
    if name not in MODELS:
        raise ValueError(f"No model {name!r}; there are {', '.join(sorted(MODELS))}.")
    builder = MODELS[name]
    with drawn_from(seed):
        try:
            model = builder(**arguments)
        # RuntimeError: torch on a width of -1; ArithmeticError: Python on one of 400 digits, or 0.
        except (TypeError, RuntimeError, ArithmeticError) as error:
            raise ValueError(
                f"{name} cannot be built with {shorten(repr(arguments))}: {reason_of(error)}."
            ) from error
    remember_architecture(model, name, builder, arguments)
    return model


_DRAWS = ("normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_", "xavier_uniform_")


class _Undrawn(TorchFunctionMode):
    """Leaves first weights undrawn: nobody reads them, and on no device it takes torch seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def outline_model(
    name: str, arguments: Mapping[str, Any], *, most_tensors: int
) -> nn.Module | None:
    """Build a model without memory for its numbers: names, shapes and types are all that it has.

    Whoever writes "a billion blocks" into a checkpoint must not make a reader build them. So its
    model is first built like this, as far as its weights can account for.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    arguments : mapping
    most_tensors : int
        How many parameters it may have.

    Returns
    -------
    The model, on torch's meta device; None for a builder of your own that needs numbers to build.

    Raises
    ------
    ValueError
        If there is no such model, it takes no such arguments, or has more parameters.
    """
    here, found = threading.get_ident(), 0

    def count(_module: nn.Module, _name: str, _parameter: Tensor) -> None:
        nonlocal found
        found += threading.get_ident() == here
        if found > most_tensors:
            raise ValueError(
                f"{name} with {shorten(repr(dict(arguments)))} has more than {most_tensors:,} "
                f"tensors."
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), _Undrawn():
            return build_model(name, **arguments)
    except Exception:  # a builder of your own raises what it likes on a device without numbers
        if name not in MODELS or name in _OF_THE_BOOK or found > most_tensors:
            raise
        return None
    finally:
        hook.remove()


def load_backbone(name: str, *, seed: int = 0, **arguments: Any) -> Backbone:
    """Return a backbone with its ImageNet weights and a new head drawn from `seed`.

    Parameters
    ----------
    name : {"efficientnet_lite0", "resnet18"}
    seed : int
        Of the head.
    **arguments
        Of `backbones.make_backbone`, such as `input_size`.

    Raises
    ------
    ValueError
        If there is no such backbone, or it cannot be built so.
    BackboneError
        If the weights are not there, cannot be reached, or are not those that were published.
    """
    if name not in BACKBONES:
        raise ValueError(f"No backbone {name!r}; there are {', '.join(BACKBONES)}.")
    model = build_model(name, seed=seed, **arguments)
    assert isinstance(model, Backbone)
    weights = BACKBONES[name].load()
    head = {k: value for k, value in model.state_dict().items() if k.startswith(f"{HEAD}.")}
    model.load_state_dict({**weights, **head})
    return model


_OF_THE_BOOK: dict[str, Callable[..., nn.Module]] = {
    "linear": Linear,
    "mlp": MLP,
    "deep_mlp": DeepMLP,
    "quick_cnn": QuickCNN,
    "small_cnn": SmallCNN,
    "resnet": ResNet,
    "article_000": Article000,
    "article_001": Article001,
    "article_002": Article002,
    "lstm": LSTM,
    "vit": VisionTransformer,
    "patch_reader": PatchReader,
    **{name: functools.partial(make_backbone, name) for name in BACKBONES},
}
for _name, _builder in _OF_THE_BOOK.items():
    register(_name, _builder)
