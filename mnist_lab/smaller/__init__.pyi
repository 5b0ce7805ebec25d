# Written by `python -m tools.rooms`: edit the modules, not this file.
from .factors import factorise as factorise
from .factors import factorise_layers as factorise_layers
from .pruning import find_smallest as find_smallest
from .pruning import narrow as narrow
from .teachers import Ensemble as Ensemble
from .teachers import learn_from as learn_from
from .while_training import keep_zero as keep_zero
from .while_training import round_straight_through as round_straight_through
from .while_training import round_while_training as round_while_training
from .while_training import settle as settle
from .while_training import weighted_layers as weighted_layers
