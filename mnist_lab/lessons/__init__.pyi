from .frames import (
    Explorer as Explorer,
    Frames as Frames,
    PAUSE as PAUSE,
    explore as explore,
)
from .plots import (
    BOOK_STYLE as BOOK_STYLE,
    DIGIT_COLOURS as DIGIT_COLOURS,
    INK_ON_PAPER as INK_ON_PAPER,
    PALETTE as PALETTE,
    Picture as Picture,
    RED_TO_BLUE as RED_TO_BLUE,
    RESOLUTION as RESOLUTION,
    SHOWN as SHOWN,
    WIDTH as WIDTH,
    draw_attention as draw_attention,
    draw_band as draw_band,
    draw_digit as draw_digit,
    draw_digits as draw_digits,
    draw_found as draw_found,
    draw_hidden as draw_hidden,
    draw_learning_curves as draw_learning_curves,
    draw_reading as draw_reading,
    draw_repeats as draw_repeats,
    draw_through_layers as draw_through_layers,
    new_axes as new_axes,
    use_book_style as use_book_style,
)
from .quizzes import (
    load_questions as load_questions,
    show_quiz as show_quiz,
)
from .records import (
    load_record as load_record,
    summarise as summarise,
    wilson_interval as wilson_interval,
)
