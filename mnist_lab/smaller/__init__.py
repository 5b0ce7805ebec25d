"""A network made smaller: rounded as it learns, pruned, factorised, taught by larger ones.

The names in `__init__.pyi` are imported when they are first asked for (lazy_loader);
`python -m tools.rooms` writes that file from the modules.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
