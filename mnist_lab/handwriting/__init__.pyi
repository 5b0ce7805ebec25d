from .found import (
    ALL_STEPS as ALL_STEPS,
    FoundDigit as FoundDigit,
    STROKE_WIDTH as STROKE_WIDTH,
    Steps as Steps,
    cut_out as cut_out,
    find_digit as find_digit,
    find_digit_in_file as find_digit_in_file,
    find_digits as find_digits,
    find_digits_in_file as find_digits_in_file,
    load_digit_image as load_digit_image,
    measure_stroke_width as measure_stroke_width,
    normalise_stroke_width as normalise_stroke_width,
    shrink_whole as shrink_whole,
)
from .ink import (
    Grey as Grey,
    HandwritingError as HandwritingError,
    INK_SHARE as INK_SHARE,
    Ink as Ink,
    Mask as Mask,
    Page as Page,
    Pixels as Pixels,
    SMALLEST_DIGIT as SMALLEST_DIGIT,
    find_ink as find_ink,
    find_ruled_lines as find_ruled_lines,
    take_paper_away as take_paper_away,
    to_grey as to_grey,
)
from .pieces import (
    Piece as Piece,
    cut_apart as cut_apart,
    join_pieces as join_pieces,
    put_in_reading_order as put_in_reading_order,
    split_into_pieces as split_into_pieces,
    unite as unite,
)
from .simulated_hands import (
    DIGITS as DIGITS,
    Drawing as Drawing,
    HANDS as HANDS,
    Hand as Hand,
    Point as Point,
    Stroke as Stroke,
    change_drawing as change_drawing,
    draw_hand as draw_hand,
    draw_on_sheet as draw_on_sheet,
)
from .simulated_pages import (
    Box as Box,
    Colour as Colour,
    Conditions as Conditions,
    PHOTOS as PHOTOS,
    Photo as Photo,
    photograph as photograph,
    write_with as write_with,
)
from .strokes import (
    DETAIL as DETAIL,
    PEN as PEN,
    Strokes as Strokes,
    draw_strokes as draw_strokes,
)
