from .augmentation import (
    Augmentation as Augmentation,
)
from .batches import (
    Batch as Batch,
)
from .batches import (
    Batches as Batches,
)
from .batches import (
    choose_device as choose_device,
)
from .checkpoints import (
    FORMAT_VERSION as FORMAT_VERSION,
)
from .checkpoints import (
    MODEL as MODEL,
)
from .checkpoints import (
    NOT_RECORDED as NOT_RECORDED,
)
from .checkpoints import (
    TOLD as TOLD,
)
from .checkpoints import (
    TOLD_OF_IMAGES as TOLD_OF_IMAGES,
)
from .checkpoints import (
    CheckpointError as CheckpointError,
)
from .checkpoints import (
    ModelCard as ModelCard,
)
from .checkpoints import (
    load_checkpoint as load_checkpoint,
)
from .checkpoints import (
    load_tensors as load_tensors,
)
from .checkpoints import (
    load_weights as load_weights,
)
from .checkpoints import (
    save_checkpoint as save_checkpoint,
)
from .checkpoints import (
    save_tensors as save_tensors,
)
from .config import (
    Schedule as Schedule,
)
from .config import (
    TrainConfig as TrainConfig,
)
from .loop import (
    EpochReport as EpochReport,
)
from .loop import (
    Penalty as Penalty,
)
from .loop import (
    TrainState as TrainState,
)
from .loop import (
    group_parameters as group_parameters,
)
from .loop import (
    iter_epochs as iter_epochs,
)
from .loop import (
    make_optimizer as make_optimizer,
)
from .loop import (
    start_training as start_training,
)
from .loop import (
    switch_to_training as switch_to_training,
)
from .loop import (
    train_epoch as train_epoch,
)
from .loop import (
    train_step as train_step,
)
from .loop import (
    update_average as update_average,
)
from .processes import (
    ALONE as ALONE,
)
from .processes import (
    SILENT_STATUS as SILENT_STATUS,
)
from .processes import (
    TIMEOUT as TIMEOUT,
)
from .processes import (
    LostProcessError as LostProcessError,
)
from .processes import (
    Ranks as Ranks,
)
from .processes import (
    join as join,
)
from .recipes import (
    ARTICLES as ARTICLES,
)
from .recipes import (
    OTHER_HANDS as OTHER_HANDS,
)
from .recipes import (
    PAGES as PAGES,
)
from .recipes import (
    PRESETS as PRESETS,
)
from .recipes import (
    UPSTROKES as UPSTROKES,
)
from .recipes import (
    ArticleRecipe as ArticleRecipe,
)
from .recipes import (
    Recipe as Recipe,
)
from .runs import (
    RESUME as RESUME,
)
from .runs import (
    FitResult as FitResult,
)
from .runs import (
    check_folder as check_folder,
)
from .runs import (
    check_parts as check_parts,
)
from .runs import (
    check_same_place as check_same_place,
)
from .runs import (
    check_same_run as check_same_run,
)
from .runs import (
    fingerprint as fingerprint,
)
from .runs import (
    fit as fit,
)
from .runs import (
    forget_run as forget_run,
)
from .runs import (
    load_optimizer as load_optimizer,
)
from .runs import (
    optimizer_tensors as optimizer_tensors,
)
from .runs import (
    part_of as part_of,
)
from .schedules import (
    learning_rate_at as learning_rate_at,
)
from .scoring import (
    Score as Score,
)
from .scoring import (
    evaluate as evaluate,
)
from .scoring import (
    predict as predict,
)
from .scoring import (
    score_as_is as score_as_is,
)
from .selection import (
    BATCH_SIZE as BATCH_SIZE,
)
from .selection import (
    EXAMPLES as EXAMPLES,
)
from .selection import (
    HIDDEN as HIDDEN,
)
from .selection import (
    LEARNING_RATE as LEARNING_RATE,
)
from .selection import (
    count_hardest as count_hardest,
)
from .selection import (
    find_hardest as find_hardest,
)
from .selection import (
    proxy_losses as proxy_losses,
)
