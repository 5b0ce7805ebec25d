"""For pytest and for the kernels of the chapters, which nbval starts: threads that do not fight.

It is read before torch is loaded, whatever pytest is told to run.
"""

import os

from tools.check_chapters import ONE_THREAD

os.environ.update(ONE_THREAD | os.environ)
