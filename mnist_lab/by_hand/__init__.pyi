from .gradient_check import (
    GradientReport as GradientReport,
    central_difference as central_difference,
    check_layer as check_layer,
    gradient_check as gradient_check,
)
from .images import (
    AvgPool2d as AvgPool2d,
    Conv2d as Conv2d,
    MaxPool2d as MaxPool2d,
    add_windows as add_windows,
    output_size as output_size,
    pad as pad,
    windows as windows,
)
from .layers import (
    BatchNorm as BatchNorm,
    Dropout as Dropout,
    Flatten as Flatten,
    Floats as Floats,
    Layer as Layer,
    Linear as Linear,
    ReLU as ReLU,
    Sequential as Sequential,
    Sigmoid as Sigmoid,
    Softmax as Softmax,
    Tanh as Tanh,
)
from .losses import (
    MeanSquaredError as MeanSquaredError,
    SoftmaxCrossEntropy as SoftmaxCrossEntropy,
)
from .optimisers import (
    Adam as Adam,
    SGD as SGD,
    accuracy as accuracy,
    iter_batches as iter_batches,
)
