from .data.digit_set import DigitSet as DigitSet
from .data.mnist import load_mnist as load_mnist
from .data.splits import split as split
from .models.registry import build_model as build_model
from .training.augmentation import Augmentation as Augmentation
from .training.batches import Batches as Batches
from .training.checkpoints import load_checkpoint as load_checkpoint
from .training.checkpoints import save_checkpoint as save_checkpoint
from .training.config import TrainConfig as TrainConfig
from .training.runs import fit as fit
from .training.scoring import evaluate as evaluate

__version__: str
