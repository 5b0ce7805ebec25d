from .frames import (
    Explorer as Explorer,
    Frames as Frames,
    explore as explore,
)
from .palette import (
    BLUE_ON_INK as BLUE_ON_INK,
    BLUE_PENCIL as BLUE_PENCIL,
    BLUE_WASH as BLUE_WASH,
    BROWN as BROWN,
    COVER as COVER,
    DIGIT_COLOURS as DIGIT_COLOURS,
    GREEN_TICK as GREEN_TICK,
    GREY as GREY,
    GRID as GRID,
    INK as INK,
    OCHRE as OCHRE,
    PAGE_BY_DAY as PAGE_BY_DAY,
    PAGE_BY_NIGHT as PAGE_BY_NIGHT,
    PAPER as PAPER,
    PAPER_EDGE as PAPER_EDGE,
    QUIZ_EDGE as QUIZ_EDGE,
    RED_PEN as RED_PEN,
    RED_WASH as RED_WASH,
    SHEET_EDGE as SHEET_EDGE,
    VIOLET as VIOLET,
    WHITE as WHITE,
    write_properties as write_properties,
)
from .pictures import (
    INK_ON_PAPER as INK_ON_PAPER,
    Picture as Picture,
    RED_TO_BLUE as RED_TO_BLUE,
    TEXT_WIDTH as TEXT_WIDTH,
    new_axes as new_axes,
    use_book_style as use_book_style,
)
from .plots import (
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
