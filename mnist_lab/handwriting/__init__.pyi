from .found import (
    ALL_STEPS as ALL_STEPS,
)
from .found import (
    DIGIT_BOX as DIGIT_BOX,
)
from .found import (
    ENLARGED as ENLARGED,
)
from .found import (
    MAX_PIXELS as MAX_PIXELS,
)
from .found import (
    MOST_TAKEN_OFF as MOST_TAKEN_OFF,
)
from .found import (
    SIZE as SIZE,
)
from .found import (
    STROKE_WIDTH as STROKE_WIDTH,
)
from .found import (
    FoundDigit as FoundDigit,
)
from .found import (
    Steps as Steps,
)
from .found import (
    cut_out as cut_out,
)
from .found import (
    find_digit as find_digit,
)
from .found import (
    find_digits as find_digits,
)
from .found import (
    fit_like_mnist as fit_like_mnist,
)
from .found import (
    measure_stroke_width as measure_stroke_width,
)
from .found import (
    normalise_stroke_width as normalise_stroke_width,
)
from .found import (
    read_digit as read_digit,
)
from .found import (
    read_digit_image as read_digit_image,
)
from .found import (
    read_digits as read_digits,
)
from .found import (
    shrink_whole as shrink_whole,
)
from .ink import (
    FAINTEST_INK as FAINTEST_INK,
)
from .ink import (
    INK_SHARE as INK_SHARE,
)
from .ink import (
    LEVELS as LEVELS,
)
from .ink import (
    PAPER_SIDE as PAPER_SIDE,
)
from .ink import (
    SMALLEST_DIGIT as SMALLEST_DIGIT,
)
from .ink import (
    WORKING_SIDE as WORKING_SIDE,
)
from .ink import (
    Grey as Grey,
)
from .ink import (
    HandwritingError as HandwritingError,
)
from .ink import (
    Ink as Ink,
)
from .ink import (
    Mask as Mask,
)
from .ink import (
    Page as Page,
)
from .ink import (
    Picture as Picture,
)
from .ink import (
    find_ink as find_ink,
)
from .ink import (
    find_ruled_lines as find_ruled_lines,
)
from .ink import (
    take_paper_away as take_paper_away,
)
from .ink import (
    to_grey as to_grey,
)
from .pieces import (
    MOST_PIECES as MOST_PIECES,
)
from .pieces import (
    WIDEST_DIGIT as WIDEST_DIGIT,
)
from .pieces import (
    Piece as Piece,
)
from .pieces import (
    cut_apart as cut_apart,
)
from .pieces import (
    join_pieces as join_pieces,
)
from .pieces import (
    put_in_reading_order as put_in_reading_order,
)
from .pieces import (
    split_into_pieces as split_into_pieces,
)
from .pieces import (
    unite as unite,
)
from .simulated_hands import (
    DIGITS as DIGITS,
)
from .simulated_hands import (
    HANDS as HANDS,
)
from .simulated_hands import (
    STEP as STEP,
)
from .simulated_hands import (
    WAVES as WAVES,
)
from .simulated_hands import (
    Drawing as Drawing,
)
from .simulated_hands import (
    Hand as Hand,
)
from .simulated_hands import (
    Point as Point,
)
from .simulated_hands import (
    Stroke as Stroke,
)
from .simulated_hands import (
    arc as arc,
)
from .simulated_hands import (
    change as change,
)
from .simulated_hands import (
    draw_hand as draw_hand,
)
from .simulated_hands import (
    draw_on_sheet as draw_on_sheet,
)
from .simulated_pages import (
    DETAIL as DETAIL,
)
from .simulated_pages import (
    MNIST_BOX as MNIST_BOX,
)
from .simulated_pages import (
    PHOTOS as PHOTOS,
)
from .simulated_pages import (
    Box as Box,
)
from .simulated_pages import (
    Colour as Colour,
)
from .simulated_pages import (
    Conditions as Conditions,
)
from .simulated_pages import (
    Floats as Floats,
)
from .simulated_pages import (
    Photo as Photo,
)
from .simulated_pages import (
    photograph as photograph,
)
from .simulated_pages import (
    write_with as write_with,
)
from .strokes import (
    DETAIL as DETAIL,
)
from .strokes import (
    FARTHEST as FARTHEST,
)
from .strokes import (
    PEN as PEN,
)
from .strokes import (
    Strokes as Strokes,
)
from .strokes import (
    draw_strokes as draw_strokes,
)
