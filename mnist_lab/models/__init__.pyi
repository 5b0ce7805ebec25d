from .articles import (
    Article000 as Article000,
)
from .articles import (
    Article001 as Article001,
)
from .articles import (
    Article002 as Article002,
)
from .backbones import (
    BACKBONES as BACKBONES,
)
from .backbones import (
    LITE0_SHA256 as LITE0_SHA256,
)
from .backbones import (
    PATIENCE as PATIENCE,
)
from .backbones import (
    SMALLEST as SMALLEST,
)
from .backbones import (
    Backbone as Backbone,
)
from .backbones import (
    BackboneError as BackboneError,
)
from .backbones import (
    Blocks as Blocks,
)
from .backbones import (
    Colours as Colours,
)
from .backbones import (
    Parts as Parts,
)
from .backbones import (
    build_backbone as build_backbone,
)
from .backbones import (
    load_backbone as load_backbone,
)
from .backbones import (
    read_pinned_weights as read_pinned_weights,
)
from .basic import (
    CLASSES as CLASSES,
)
from .basic import (
    MLP as MLP,
)
from .basic import (
    Linear as Linear,
)
from .basic import (
    SmallCNN as SmallCNN,
)
from .lstm import (
    LSTM as LSTM,
)
from .registry import (
    MODELS as MODELS,
)
from .registry import (
    build_model as build_model,
)
from .registry import (
    count_parameters as count_parameters,
)
from .registry import (
    eval_mode as eval_mode,
)
from .resnet import (
    ResidualBlock as ResidualBlock,
)
from .resnet import (
    ResNet as ResNet,
)
from .seeding import (
    seeded_generator as seeded_generator,
    weights_from as weights_from,
)
from .vit import (
    SelfAttention as SelfAttention,
)
from .vit import (
    TransformerBlock as TransformerBlock,
)
from .vit import (
    VisionTransformer as VisionTransformer,
)
from .vit import (
    patchify as patchify,
)
from .vit import (
    unpatchify as unpatchify,
)
