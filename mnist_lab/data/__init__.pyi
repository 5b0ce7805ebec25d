from .corruptions import (
    COARSE as COARSE,
)
from .corruptions import (
    CORRUPTIONS as CORRUPTIONS,
)
from .corruptions import (
    DIGIT_BOX as DIGIT_BOX,
)
from .corruptions import (
    ELASTIC_SMOOTHNESS as ELASTIC_SMOOTHNESS,
)
from .corruptions import (
    Change as Change,
)
from .corruptions import (
    Corruption as Corruption,
)
from .corruptions import (
    Images as Images,
)
from .corruptions import (
    corrupt as corrupt,
)
from .digit_set import (
    DIGIT_NAMES as DIGIT_NAMES,
)
from .digit_set import (
    DataError as DataError,
)
from .digit_set import (
    DigitSet as DigitSet,
)
from .digit_set import (
    Part as Part,
)
from .digit_set import (
    align_classes as align_classes,
)
from .geometry import (
    paste_by_centre_of_mass as paste_by_centre_of_mass,
)
from .idx import (
    IDX_TYPES as IDX_TYPES,
)
from .idx import (
    parse_idx as parse_idx,
)
from .idx import (
    read_idx as read_idx,
)
from .idx import (
    take_images as take_images,
)
from .idx import (
    write_idx as write_idx,
)
from .mnist import (
    MNIST as MNIST,
)
from .mnist import (
    MNIST_SHA256 as MNIST_SHA256,
)
from .mnist import (
    lay_out_for_torchvision as lay_out_for_torchvision,
)
from .mnist import (
    load_mnist as load_mnist,
)
from .normalisation import (
    MNIST_NORMALISATION as MNIST_NORMALISATION,
)
from .normalisation import (
    Normalisation as Normalisation,
)
from .other_sets import (
    TORCHVISION_SETS as TORCHVISION_SETS,
)
from .other_sets import (
    load_from_torchvision as load_from_torchvision,
)
from .other_sets import (
    load_uci_digits as load_uci_digits,
)
from .own_files import (
    IMAGE_SUFFIXES as IMAGE_SUFFIXES,
)
from .own_files import (
    ImageReader as ImageReader,
)
from .own_files import (
    load_idx_folder as load_idx_folder,
)
from .own_files import (
    load_image_folder as load_image_folder,
)
from .own_files import (
    load_npz as load_npz,
)
from .own_files import (
    load_path as load_path,
)
from .own_files import (
    save_npz as save_npz,
)
from .splits import (
    few_labels as few_labels,
)
from .splits import (
    keep_classes as keep_classes,
)
from .splits import (
    split as split,
)
from .writers import (
    ENLARGED as ENLARGED,
)
from .writers import (
    add_upstrokes as add_upstrokes,
)
from .writers import (
    rotate_digits as rotate_digits,
)
from .writers import (
    thin_strokes as thin_strokes,
)
