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
    PATIENCE as PATIENCE,
    Parts as Parts,
    SMALLEST as SMALLEST,
    build_backbone as build_backbone,
    load_backbone as load_backbone,
    read_pinned_weights as read_pinned_weights,
)
from .basic import (
    CLASSES as CLASSES,
    Linear as Linear,
    MLP as MLP,
    SmallCNN as SmallCNN,
)
from .deep import (
    DeepMLP as DeepMLP,
    build_deep_mlp as build_deep_mlp,
    draw_weights as draw_weights,
    gradient_norms as gradient_norms,
)
from .lstm import (
    LSTM as LSTM,
)
from .registry import (
    MODELS as MODELS,
    build_model as build_model,
    count_parameters as count_parameters,
    eval_mode as eval_mode,
)
from .resnet import (
    ResNet as ResNet,
    ResidualBlock as ResidualBlock,
)
from .seeding import (
    seeded_generator as seeded_generator,
)
from .vit import (
    SelfAttention as SelfAttention,
    TransformerBlock as TransformerBlock,
    VisionTransformer as VisionTransformer,
    patchify as patchify,
    unpatchify as unpatchify,
)
