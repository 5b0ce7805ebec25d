from .corruptions import (
    COARSE as COARSE,
    CORRUPTIONS as CORRUPTIONS,
    Change as Change,
    Corruption as Corruption,
    DIGIT_BOX as DIGIT_BOX,
    ELASTIC_SMOOTHNESS as ELASTIC_SMOOTHNESS,
    Images as Images,
    corrupt as corrupt,
)
from .digit_set import (
    DIGIT_NAMES as DIGIT_NAMES,
    DataError as DataError,
    DigitSet as DigitSet,
    Part as Part,
    align_classes as align_classes,
)
from .geometry import (
    paste_by_centre_of_mass as paste_by_centre_of_mass,
)
from .idx import (
    IDX_TYPES as IDX_TYPES,
    parse_idx as parse_idx,
    read_idx as read_idx,
    take_images as take_images,
    write_idx as write_idx,
)
from .mnist import (
    MNIST as MNIST,
    MNIST_SHA256 as MNIST_SHA256,
    lay_out_for_torchvision as lay_out_for_torchvision,
    load_mnist as load_mnist,
)
from .normalisation import (
    MNIST_NORMALISATION as MNIST_NORMALISATION,
    Normalisation as Normalisation,
)
from .other_sets import (
    TORCHVISION_SETS as TORCHVISION_SETS,
    load_from_torchvision as load_from_torchvision,
    load_uci_digits as load_uci_digits,
)
from .own_files import (
    IMAGE_SUFFIXES as IMAGE_SUFFIXES,
    ImageReader as ImageReader,
    load_idx_folder as load_idx_folder,
    load_image_folder as load_image_folder,
    load_npz as load_npz,
    load_path as load_path,
    save_npz as save_npz,
)
from .splits import (
    few_labels as few_labels,
    keep_classes as keep_classes,
    split as split,
)
from .writers import (
    ENLARGED as ENLARGED,
    add_upstrokes as add_upstrokes,
    rotate_digits as rotate_digits,
    thin_strokes as thin_strokes,
)
