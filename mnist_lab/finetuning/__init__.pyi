from .freezing import (
    GradualUnfreezing as GradualUnfreezing,
    Stages as Stages,
    count_trainable as count_trainable,
    freeze as freeze,
    freeze_backbone as freeze_backbone,
    list_stages as list_stages,
    parameters_of as parameters_of,
    unfreeze as unfreeze,
)
from .heads import (
    describe_body as describe_body,
    load_pretrained as load_pretrained,
    name_difference as name_difference,
    replace_head as replace_head,
)
from .lora import (
    ClassifyThroughLoRA as ClassifyThroughLoRA,
    LoRALayer as LoRALayer,
    add_lora as add_lora,
    hash_base as hash_base,
    load_lora as load_lora,
    lora_layers as lora_layers,
    lora_parameters as lora_parameters,
    merge_lora as merge_lora,
    save_lora as save_lora,
    strip_lora as strip_lora,
    unmerge_lora as unmerge_lora,
)
from .masked import (
    GuessHiddenPatches as GuessHiddenPatches,
    METHOD as METHOD,
    MaskedAutoencoder as MaskedAutoencoder,
    PRETRAIN as PRETRAIN,
    count_hidden as count_hidden,
    draw_kept as draw_kept,
    find_hidden as find_hidden,
    make_autoencoder as make_autoencoder,
    masked_loss as masked_loss,
    normalise_patches as normalise_patches,
    reconstruct as reconstruct,
)
from .probes import (
    cache_features as cache_features,
    train_probe as train_probe,
)
from .rates import (
    PullTowardsStart as PullTowardsStart,
    layerwise_groups as layerwise_groups,
)
from .ways import (
    FINETUNE as FINETUNE,
    Start as Start,
    WAYS as WAYS,
    finetune as finetune,
    start_way as start_way,
)
