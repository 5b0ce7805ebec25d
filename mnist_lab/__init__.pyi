from .data.digit_set import DigitSet as DigitSet
from .data.mnist import load_mnist as load_mnist
from .data.splits import split as split
from .handwriting.reader import Reader as Reader
from .handwriting.reader import load_reader as load_reader
from .models.registry import build_model as build_model
from .models.registry import register as register
from .training.augmentation import Augmentation as Augmentation
from .training.batches import Batches as Batches
from .training.checkpoints import save_checkpoint as save_checkpoint
from .training.config import TrainConfig as TrainConfig
from .training.runs import fit as fit
from .training.scoring import evaluate as evaluate

__version__: str
