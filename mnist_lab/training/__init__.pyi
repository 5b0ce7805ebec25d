from .augmentation import (
    Augmentation as Augmentation,
)
from .batches import (
    Batch as Batch,
    Batches as Batches,
    choose_device as choose_device,
)
from .checkpoints import (
    CheckpointError as CheckpointError,
    FORMAT_VERSION as FORMAT_VERSION,
    ModelCard as ModelCard,
    check_rebuilds as check_rebuilds,
    load_checkpoint as load_checkpoint,
    load_tensors as load_tensors,
    load_weights as load_weights,
    read_digest as read_digest,
    save_checkpoint as save_checkpoint,
    save_tensors as save_tensors,
)
from .config import (
    Schedule as Schedule,
    TrainConfig as TrainConfig,
)
from .draws import (
    Draws as Draws,
)
from .loop import (
    BeforeStep as BeforeStep,
    EpochReport as EpochReport,
    Penalty as Penalty,
    TrainState as TrainState,
    group_parameters as group_parameters,
    iter_epochs as iter_epochs,
    make_optimizer as make_optimizer,
    set_learning_rate as set_learning_rate,
    start_training as start_training,
    switch_to_training as switch_to_training,
    train_epoch as train_epoch,
    train_step as train_step,
    update_average as update_average,
)
from .objectives import (
    Classify as Classify,
    Objective as Objective,
)
from .preparation import (
    prepare_digits as prepare_digits,
)
from .processes import (
    ALONE as ALONE,
    LostProcessError as LostProcessError,
    Ranks as Ranks,
    TIMEOUT as TIMEOUT,
    inside_replica as inside_replica,
    join as join,
)
from .recipes import (
    ARTICLES as ARTICLES,
    ArticleRecipe as ArticleRecipe,
    OTHER_HANDS as OTHER_HANDS,
    PAGES as PAGES,
    PRESETS as PRESETS,
    Recipe as Recipe,
    UPSTROKES as UPSTROKES,
)
from .runs import (
    FitResult as FitResult,
    RESUME as RESUME,
    fit as fit,
    identify_data as identify_data,
)
from .schedules import (
    learning_rate_at as learning_rate_at,
)
from .scoring import (
    NOT_SCORED as NOT_SCORED,
    Score as Score,
    eval_mode as eval_mode,
    evaluate as evaluate,
    logits_of as logits_of,
    score_as_is as score_as_is,
)
from .selection import (
    BATCH_SIZE as BATCH_SIZE,
    EXAMPLES as EXAMPLES,
    HIDDEN as HIDDEN,
    LEARNING_RATE as LEARNING_RATE,
    count_hardest as count_hardest,
    find_hardest as find_hardest,
    proxy_losses as proxy_losses,
)
