from .gradient_check import (
    GradientReport as GradientReport,
)
from .gradient_check import (
    central_difference as central_difference,
)
from .gradient_check import (
    check_layer as check_layer,
)
from .gradient_check import (
    gradient_check as gradient_check,
)
from .images import (
    AvgPool2d as AvgPool2d,
)
from .images import (
    Conv2d as Conv2d,
)
from .images import (
    MaxPool2d as MaxPool2d,
)
from .images import (
    add_windows as add_windows,
)
from .images import (
    output_size as output_size,
)
from .images import (
    pad as pad,
)
from .images import (
    windows as windows,
)
from .layers import (
    BatchNorm as BatchNorm,
)
from .layers import (
    Dropout as Dropout,
)
from .layers import (
    Flatten as Flatten,
)
from .layers import (
    Floats as Floats,
)
from .layers import (
    Layer as Layer,
)
from .layers import (
    Linear as Linear,
)
from .layers import (
    ReLU as ReLU,
)
from .layers import (
    Sequential as Sequential,
)
from .layers import (
    Sigmoid as Sigmoid,
)
from .layers import (
    Softmax as Softmax,
)
from .layers import (
    Tanh as Tanh,
)
from .losses import (
    MeanSquaredError as MeanSquaredError,
)
from .losses import (
    SoftmaxCrossEntropy as SoftmaxCrossEntropy,
)
from .optimisers import (
    SGD as SGD,
)
from .optimisers import (
    Adam as Adam,
)
from .optimisers import (
    accuracy as accuracy,
)
from .optimisers import (
    iter_batches as iter_batches,
)
