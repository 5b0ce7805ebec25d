from .freezing import (
    Stages as Stages,
)
from .freezing import (
    count_trainable as count_trainable,
)
from .freezing import (
    freeze as freeze,
)
from .freezing import (
    list_stages as list_stages,
)
from .freezing import (
    unfreeze as unfreeze,
)
from .freezing import (
    unfreeze_gradually as unfreeze_gradually,
)
from .heads import (
    HEAD as HEAD,
)
from .heads import (
    load_pretrained as load_pretrained,
)
from .heads import (
    replace_head as replace_head,
)
from .lora import (
    HEAD as HEAD,
)
from .lora import (
    LORA as LORA,
)
from .lora import (
    LoRALayer as LoRALayer,
)
from .lora import (
    add_lora as add_lora,
)
from .lora import (
    fingerprint as fingerprint,
)
from .lora import (
    load_lora as load_lora,
)
from .lora import (
    lora_layers as lora_layers,
)
from .lora import (
    lora_parameters as lora_parameters,
)
from .lora import (
    merge_lora as merge_lora,
)
from .lora import (
    save_lora as save_lora,
)
from .lora import (
    strip_lora as strip_lora,
)
from .lora import (
    unmerge_lora as unmerge_lora,
)
from .masked import (
    METHOD as METHOD,
)
from .masked import (
    MODEL as MODEL,
)
from .masked import (
    MaskedAutoencoder as MaskedAutoencoder,
)
from .masked import (
    PretrainConfig as PretrainConfig,
)
from .masked import (
    PretrainReport as PretrainReport,
)
from .masked import (
    PretrainResult as PretrainResult,
)
from .masked import (
    count_hidden as count_hidden,
)
from .masked import (
    draw_kept as draw_kept,
)
from .masked import (
    find_hidden as find_hidden,
)
from .masked import (
    iter_pretraining as iter_pretraining,
)
from .masked import (
    make_autoencoder as make_autoencoder,
)
from .masked import (
    masked_loss as masked_loss,
)
from .masked import (
    masked_step as masked_step,
)
from .masked import (
    normalise_patches as normalise_patches,
)
from .masked import (
    pretrain as pretrain,
)
from .masked import (
    pretrain_epoch as pretrain_epoch,
)
from .masked import (
    reconstruct as reconstruct,
)
from .masked import (
    score_masked as score_masked,
)
from .probes import (
    cache_features as cache_features,
)
from .probes import (
    train_probe as train_probe,
)
from .rates import (
    PullTowardsStart as PullTowardsStart,
)
from .rates import (
    layerwise_groups as layerwise_groups,
)
from .rates import (
    train_steps as train_steps,
)
