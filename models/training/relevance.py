"""Which items of a picture decide a question's answer: the ground truth of spatial relevance.

A question that names things looks at those; one that ranks, compares all or describes looks at everything. Without
what it looks at a question has another answer or none; without the rest its answer stays the same.
"""
import vocabulary as V
from scene import FIRST_SIGN, Scene

EVERYTHING = (1 << 14) - 1
SINGULAR = {plural: shape for shape, plural in V.PLURALS.items()}


def looked_at(scene: Scene, family: str, slots: dict[str, str]) -> int:
    """Bit set over `Scene.items`."""
    if len(scene.frames) > 1:  # what happens in a clip may happen to any of its things
        return EVERYTHING
    rule = RULES.get(family, lambda s, _: is_item)
    wanted = rule(scene, slots)
    return sum(1 << i for i, item in scene.items.items() if wanted(i, item))


def is_item(i, item) -> bool:
    return True


def is_sign(i, item) -> bool:
    return i >= FIRST_SIGN


def is_thing(i, item) -> bool:
    return i < FIRST_SIGN


def things(test):
    return lambda i, item: i < FIRST_SIGN and test(item)


def called(*handles: str):
    """Things that a handle may mean: 'star', 'red star'."""
    return things(lambda t: t.shape in handles or t.name in handles)


RULES = {
    "colour": lambda s, q: called(q["x"]),
    "shape": lambda s, q: things(lambda t: t.colour == q["c"]),
    "style": lambda s, q: called(q["x"]),
    "position": lambda s, q: called(q["x"]),
    "count_all": lambda s, q: is_thing,
    "count_colour": lambda s, q: things(lambda t: t.colour == q["c"]),
    "count_shape": lambda s, q: called(SINGULAR[q["xs"]]),
    "count_style": lambda s, q: things(lambda t: t.style == q["k"]),
    "count_beside": lambda s, q: is_thing,
    "read": lambda s, q: is_sign,
    "read_which": lambda s, q: is_sign,
    "letter": lambda s, q: is_sign,
    "letter_count": lambda s, q: is_sign,
    "sign_count": lambda s, q: is_sign,
    "sign_else_sound": lambda s, q: is_sign,
    "read_near": lambda s, q: lambda i, item: is_sign(i, item) or called(q["x"])(i, item),
    "relation": lambda s, q: called(q["x"], q["y"]),
    "relation_which": lambda s, q: called(q["x"], q["y"]),
    "larger": lambda s, q: called(q["x"], q["y"]),
    "same_colour": lambda s, q: called(q["x"], q["y"]),
    "more": lambda s, q: called(SINGULAR[q["xs"]], SINGULAR[q["ys"]]),
    "exists": lambda s, q: called(q["x"]),
    "exists_shape": lambda s, q: called(q["x"]),
    "names_colour_of": lambda s, q: called(q["x"]),
    "beeps_else_count": lambda s, q: called(SINGULAR[q["xs"]]),
    "closest": lambda s, q: is_thing,
    "outermost": lambda s, q: is_thing,
    "size": lambda s, q: is_thing,
    "list_colours": lambda s, q: is_thing,
    "beeps_or_things": lambda s, q: is_thing,
    "named_shape_colour": lambda s, q: is_thing,
    "named_shape_exists": lambda s, q: is_thing,
}
