from .architecture import (
    Architecture as Architecture,
    HEAD as HEAD,
    architecture_of as architecture_of,
    count_parameters as count_parameters,
    note_head as note_head,
    remember_architecture as remember_architecture,
)
from .articles import (
    Article000 as Article000,
    Article001 as Article001,
    Article002 as Article002,
)
from .backbones import (
    BACKBONES as BACKBONES,
    Backbone as Backbone,
    BackboneError as BackboneError,
    Blocks as Blocks,
    Colours as Colours,
    LITE0_SHA256 as LITE0_SHA256,
    Parts as Parts,
    make_backbone as make_backbone,
    read_pinned_weights as read_pinned_weights,
)
from .basic import (
    CLASSES as CLASSES,
    Linear as Linear,
    MLP as MLP,
    SmallCNN as SmallCNN,
)
from .lstm import (
    LSTM as LSTM,
)
from .registry import (
    Builder as Builder,
    MODELS as MODELS,
    build_model as build_model,
    load_backbone as load_backbone,
    register as register,
    register as register,
    register as register,
)
from .resnet import (
    ResNet as ResNet,
    ResidualBlock as ResidualBlock,
)
from .seeding import (
    drawn_from as drawn_from,
    seeded_generator as seeded_generator,
)
from .vit import (
    SelfAttention as SelfAttention,
    TransformerBlock as TransformerBlock,
    VisionTransformer as VisionTransformer,
    patchify as patchify,
    unpatchify as unpatchify,
)
