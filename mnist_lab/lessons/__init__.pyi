from .frames import (
    Explorer as Explorer,
)
from .frames import (
    Frames as Frames,
)
from .frames import (
    explore as explore,
)
from .palette import (
    BLUE_ON_INK as BLUE_ON_INK,
)
from .palette import (
    BLUE_PENCIL as BLUE_PENCIL,
)
from .palette import (
    BLUE_WASH as BLUE_WASH,
)
from .palette import (
    BROWN as BROWN,
)
from .palette import (
    COVER as COVER,
)
from .palette import (
    DIGIT_COLOURS as DIGIT_COLOURS,
)
from .palette import (
    GREEN_TICK as GREEN_TICK,
)
from .palette import (
    GREY as GREY,
)
from .palette import (
    GRID as GRID,
)
from .palette import (
    INK as INK,
)
from .palette import (
    OCHRE as OCHRE,
)
from .palette import (
    PAGE_BY_DAY as PAGE_BY_DAY,
)
from .palette import (
    PAGE_BY_NIGHT as PAGE_BY_NIGHT,
)
from .palette import (
    PAPER as PAPER,
)
from .palette import (
    PAPER_EDGE as PAPER_EDGE,
)
from .palette import (
    QUIZ_EDGE as QUIZ_EDGE,
)
from .palette import (
    RED_PEN as RED_PEN,
)
from .palette import (
    RED_WASH as RED_WASH,
)
from .palette import (
    SHEET_EDGE as SHEET_EDGE,
)
from .palette import (
    VIOLET as VIOLET,
)
from .palette import (
    WHITE as WHITE,
)
from .palette import (
    write_properties as write_properties,
)
from .pictures import (
    INK_ON_PAPER as INK_ON_PAPER,
)
from .pictures import (
    RED_TO_BLUE as RED_TO_BLUE,
)
from .pictures import (
    TEXT_WIDTH as TEXT_WIDTH,
)
from .pictures import (
    Picture as Picture,
)
from .pictures import (
    new_axes as new_axes,
)
from .pictures import (
    use_book_style as use_book_style,
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
