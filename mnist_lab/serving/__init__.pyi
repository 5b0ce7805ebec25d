# Written by `python -m tools.rooms`: edit the modules, not this file.
from .service import Limits as Limits
from .service import RefusedError as RefusedError
from .service import Service as Service
from .service import ServiceError as ServiceError
from .service import listen as listen
from .service import make_app as make_app
from .service import serve as serve
from .service import take_pictures as take_pictures
from .sessions import OnnxNetwork as OnnxNetwork
from .sessions import load_onnx as load_onnx
from .sessions import load_served as load_served
from .versions import POINTER as POINTER
from .versions import Duel as Duel
from .versions import Versions as Versions
from .versions import VersionsError as VersionsError
from .versions import compare as compare
