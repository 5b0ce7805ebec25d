from .frames import (
    PAUSE as PAUSE,
)
from .frames import (
    Explorer as Explorer,
)
from .frames import (
    Frames as Frames,
)
from .frames import (
    explore as explore,
)
from .plots import (
    BOOK_STYLE as BOOK_STYLE,
)
from .plots import (
    DIGIT_COLOURS as DIGIT_COLOURS,
)
from .plots import (
    INK_ON_PAPER as INK_ON_PAPER,
)
from .plots import (
    PALETTE as PALETTE,
)
from .plots import (
    RED_TO_BLUE as RED_TO_BLUE,
)
from .plots import (
    RESOLUTION as RESOLUTION,
)
from .plots import (
    SHOWN as SHOWN,
)
from .plots import (
    WIDTH as WIDTH,
)
from .plots import (
    Picture as Picture,
)
from .plots import (
    draw_attention as draw_attention,
)
from .plots import (
    draw_band as draw_band,
)
from .plots import (
    draw_digit as draw_digit,
)
from .plots import (
    draw_digits as draw_digits,
)
from .plots import (
    draw_found as draw_found,
)
from .plots import (
    draw_hidden as draw_hidden,
)
from .plots import (
    draw_learning_curves as draw_learning_curves,
)
from .plots import (
    draw_reading as draw_reading,
)
from .plots import (
    draw_repeats as draw_repeats,
)
from .plots import (
    draw_through_layers as draw_through_layers,
)
from .plots import (
    new_axes as new_axes,
)
from .plots import (
    use_book_style as use_book_style,
)
from .quizzes import (
    load_questions as load_questions,
)
from .quizzes import (
    show_quiz as show_quiz,
)
from .records import (
    load_record as load_record,
)
from .records import (
    summarise as summarise,
)
from .records import (
    wilson_interval as wilson_interval,
)
