"""Question families of the pocket world: `ask(scene, rng)` yields questions with their one right answer.

A family is a function (scene, rng) -> (slots, answer, needs_vision, needs_audio), or None where the scene would make
the question ambiguous. Its paraphrases are in `phrases.py`. Margins are wide enough to survive a tilted photograph.
"""
import math
from collections import Counter
from random import Random

import vocabulary as V
from phrases import PHRASES, dress
from relevance import looked_at
from scene import Question, Scene

FAMILIES = {}
WEIGHTS = {}


def family(weight: float = 1.0, clip: bool = False):
    def register(f):
        name = f.__name__
        FAMILIES[name], WEIGHTS[name] = (f, clip), weight
        return f
    return register


# --- what a thing may be called -------------------------------------------------------------------------------

def handle(scene: Scene, rng: Random, t) -> str | None:
    """'star' where it is the only star, else 'red star' where that is unique."""
    same = [o for o in scene.things if o.shape == t.shape]
    if len(same) == 1:
        return t.shape if rng.random() < 0.6 else t.name
    return t.name if sum(o.colour == t.colour for o in same) == 1 else None


def named(scene: Scene, rng: Random, k: int):
    """k different things with unique handles, or None."""
    found = []
    for t in rng.sample(scene.things, len(scene.things)):
        if h := handle(scene, rng, t):
            found.append((t, h))
            if len(found) == k:
                return found
    return None


def apart(a, b) -> tuple[bool, bool]:
    """Whether a and b are clearly apart in x, in y, whatever a small tilt does."""
    dx, dy = abs(a.x - b.x), abs(a.y - b.y)
    return dx > 0.06 + 0.16 * dy, dy > 0.06 + 0.16 * dx


def extreme(items, key, margin: float):
    """The item of the smallest key, if it leads by the margin."""
    ranked = sorted(items, key=key)
    return ranked[0] if len(ranked) > 1 and key(ranked[1]) - key(ranked[0]) > margin else None


def nearest(target, items):
    """The item clearly closest to the target."""
    ranked = sorted((math.hypot(i.x - target.x, i.y - target.y), k) for k, i in enumerate(items))
    if len(ranked) < 2 or ranked[1][0] > 1.25 * ranked[0][0] + 0.03:
        return items[ranked[0][1]] if ranked else None
    return None


def number(n: int) -> str:
    return V.NUMBERS[n]


def join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def yes(x: bool) -> str:
    return "yes" if x else "no"


# --- the picture ----------------------------------------------------------------------------------------------

@family()
def colour(s, r):
    shapes = Counter(t.shape for t in s.things)
    pool = [t for t in s.things if shapes[t.shape] == 1]
    return pool and (lambda t: ({"x": t.shape}, t.colour, 1, 0))(r.choice(pool))


@family()
def shape(s, r):
    colours = Counter(t.colour for t in s.things)
    pool = [t for t in s.things if colours[t.colour] == 1]
    return pool and (lambda t: ({"c": t.colour}, t.shape, 1, 0))(r.choice(pool))


@family(0.7)
def style(s, r):
    found = [(t, h) for t in s.things if t.size != "small" and (h := handle(s, r, t))]
    return found and (lambda f: ({"x": f[1]}, f[0].style, 1, 0))(r.choice(found))


@family(1.2)
def count_all(s, r):
    return {}, number(len(s.things)), 1, 0


@family(1.2)
def count_colour(s, r):
    c = r.choice([t.colour for t in s.things]) if s.things and r.random() < 0.85 else r.choice(list(V.COLOURS))
    return {"c": c}, number(sum(t.colour == c for t in s.things)), 1, 0


@family(1.2)
def count_shape(s, r):
    x = r.choice([t.shape for t in s.things]) if s.things and r.random() < 0.85 else r.choice(V.SHAPES)
    return {"xs": V.PLURALS[x]}, number(sum(t.shape == x for t in s.things)), 1, 0


@family(0.6)
def count_style(s, r):
    k = r.choice(("striped", "hollow"))
    return {"k": k}, number(sum(t.style == k for t in s.things)), 1, 0


@family(1.2)
def count_beside(s, r):
    """How many things lie to one side of another."""
    if not (f := named(s, r, 1)) or len(s.things) < 3:
        return None
    t, h = f[0]
    axis = r.choice((0, 1))
    others = [o for o in s.things if o is not t]
    if not all(apart(t, o)[axis] for o in others):
        return None
    side = r.choice((("left of", "right of"), ("above", "below"))[axis])
    delta = [(o.x - t.x, o.y - t.y)[axis] for o in others]
    n = sum(d < 0 for d in delta) if side in ("left of", "above") else sum(d > 0 for d in delta)
    return {"x": h, "side": side}, number(n), 1, 0


@family(2.4)
def read(s, r):
    if len(s.signs) > 1:
        return None
    if not s.signs:
        return ({}, "no sign", 1, 0) if r.random() < 0.3 else None
    return {}, s.signs[0].text, 1, 0


@family(2.4)
def read_which(s, r):
    if len(s.signs) != 2:
        return None
    a, b = s.signs
    ways = [w for w, ok in zip((("left", "right"), ("upper", "lower")), apart(a, b)) if ok]
    if not ways:
        return None
    way = r.choice(ways)
    key = (lambda g: g.x) if way[0] == "left" else (lambda g: g.y)
    first, second = sorted((a, b), key=key)
    i = r.randrange(2)
    return {"which": way[i]}, (first, second)[i].text, 1, 0


@family(1.0)
def read_near(s, r):
    """Multi-hop: the sign closest to a thing."""
    if not s.signs or not (f := named(s, r, 1)):
        return None
    g = nearest(f[0][0], s.signs)
    return g and ({"x": f[0][1]}, g.text, 1, 0)


@family(0.9)
def letter(s, r):
    if len(s.signs) != 1 or len(s.signs[0].text) < 2:
        return None
    i = r.choice((0, -1))
    return {"n": "first" if i == 0 else "last"}, s.signs[0].text[i], 1, 0


@family(0.7)
def letter_count(s, r):
    return ({}, number(len(s.signs[0].text)), 1, 0) if len(s.signs) == 1 else None


@family(0.5)
def sign_count(s, r):
    return {}, number(len(s.signs)), 1, 0


@family(1.5)
def relation(s, r):
    if not (f := named(s, r, 2)):
        return None
    (a, ha), (b, hb) = f
    ok = apart(a, b)
    axis = r.choice([i for i in (0, 1) if ok[i]] or [None])
    if axis is None:
        return None
    before = (a.x < b.x, a.y < b.y)[axis]
    words = (("left of", "right of"), ("above", "below"))[axis]
    side = r.choice(words)
    return {"x": ha, "y": hb, "side": side}, yes((side == words[0]) == before), 1, 0


@family(1.5)
def relation_which(s, r):
    if not (f := named(s, r, 2)):
        return None
    (a, ha), (b, hb) = f
    if abs(a.x - b.x) > 0.08 + 1.5 * abs(a.y - b.y):
        return {"x": ha, "y": hb}, "left" if a.x < b.x else "right", 1, 0
    if abs(a.y - b.y) > 0.08 + 1.5 * abs(a.x - b.x):
        return {"x": ha, "y": hb}, "above" if a.y < b.y else "below", 1, 0
    return None


@family(1.5)
def closest(s, r):
    """What lies closest to a thing."""
    if len(s.things) < 3 or not (f := named(s, r, 1)):
        return None
    t = nearest(f[0][0], [o for o in s.things if o is not f[0][0]])
    return t and ({"x": f[0][1]}, t.name, 1, 0)


@family(1.0)
def colour_near_sign(s, r):
    if len(s.signs) != 1 or len(s.things) < 2:
        return None
    t = nearest(s.signs[0], list(s.things))
    return t and ({}, t.colour, 1, 0)


@family(1.0)
def outermost(s, r):
    side, key = r.choice((("leftmost", lambda t: t.x), ("rightmost", lambda t: -t.x),
                          ("highest", lambda t: t.y), ("lowest", lambda t: -t.y)))
    t = extreme(s.things, key, 0.07)
    return t and ({"side": side}, t.name, 1, 0)


@family(0.8)
def size(s, r):
    which, sign = r.choice((("largest", -1), ("smallest", 1)))
    ranked = sorted(s.things, key=lambda t: sign * t.r)
    if len(ranked) < 2 or max(ranked[0].r, ranked[1].r) < 1.25 * min(ranked[0].r, ranked[1].r):
        return None
    return {"which": which}, ranked[0].name, 1, 0


@family(0.8)
def larger(s, r):
    if not (f := named(s, r, 2)):
        return None
    (a, ha), (b, hb) = f
    if max(a.r, b.r) < 1.2 * min(a.r, b.r):
        return None
    return {"x": ha, "y": hb}, yes(a.r > b.r), 1, 0


@family(1.3)
def more(s, r):
    kinds = list(dict.fromkeys(t.shape for t in s.things))
    if len(kinds) < 2:
        return None
    a, b = r.sample(kinds, 2)
    n, m = (sum(t.shape == x for t in s.things) for x in (a, b))
    return {"xs": V.PLURALS[a], "ys": V.PLURALS[b]}, yes(n > m), 1, 0


@family(0.8)
def same_colour(s, r):
    if not (f := named(s, r, 2)):
        return None
    (a, _), (b, _) = f
    if a.shape == b.shape or any(o.shape in (a.shape, b.shape) and o not in (a, b) for o in s.things):
        return None
    return {"x": a.shape, "y": b.shape}, yes(a.colour == b.colour), 1, 0


@family(1.0)
def exists(s, r):
    names = {t.name for t in s.things}
    if names and r.random() < 0.5:
        c, x = r.choice(sorted(names)).split()
    elif s.things and r.random() < 0.7:  # near miss: a colour and a shape that are there, apart
        c, x = r.choice(s.things).colour, r.choice(s.things).shape
    else:
        c, x = r.choice(list(V.COLOURS)), r.choice(V.SHAPES)
    return {"x": f"{c} {x}"}, yes(f"{c} {x}" in names), 1, 0


@family(0.5)
def exists_shape(s, r):
    shapes = [t.shape for t in s.things]
    x = r.choice(shapes if shapes and r.random() < 0.5 else V.SHAPES)
    return {"x": x}, yes(x in shapes), 1, 0


@family(1.0)
def position(s, r):
    found = [(t, h) for t in s.things if (h := handle(s, r, t))]
    found = [(t, h) for t, h in found if all(abs(v - b) > 0.05 for v in (t.x, t.y) for b in (1 / 3, 2 / 3))]
    return found and (lambda f: ({"x": f[1]}, V.REGIONS[int(f[0].y * 3)][int(f[0].x * 3)], 1, 0))(r.choice(found))


def reading_order(s) -> list | None:
    items = sorted((*s.things, *s.signs), key=lambda i: i.x)
    if not items or any(b.x - a.x < 0.035 + 0.08 * abs(b.y - a.y) for a, b in zip(items, items[1:])):
        return None
    return items


def said_of(i) -> str:
    return f"a sign that says {i.text}" if hasattr(i, "text") else f"a {i.full_name}".replace("a orange", "an orange")


@family(2.0)
def describe(s, r):
    items = reading_order(s)
    return items and ({}, join([said_of(i) for i in items]), 1, 0)


@family(0.8)
def list_colours(s, r):
    items = reading_order(s)
    return items and s.things and ({}, join([i.colour for i in items if not hasattr(i, "text")]), 1, 0)


# --- the sound ------------------------------------------------------------------------------------------------

@family(2.0)
def say_all(s, r):
    return {}, " ".join(s.sound.words) or "nothing", 0, 1


@family(1.2)
def say_nth(s, r):
    w = s.sound.words
    if len(w) < 2:
        return None
    i = r.choice((0, len(w) - 1, r.randrange(len(w))))
    n = "last" if i == len(w) - 1 and r.random() < 0.7 else V.ORDINALS[i]
    return {"n": n}, w[i], 0, 1


@family(0.8)
def say_count(s, r):
    return {}, number(len(s.sound.words)), 0, 1


@family(0.9)
def said(s, r):
    w = s.sound.words
    x = r.choice(w) if w and r.random() < 0.5 else r.choice(V.CHAT_WORDS)
    return {"w": x}, yes(x in w), 0, 1


@family(1.0)
def beep_count(s, r):
    return ({}, number(s.sound.beeps), 0, 1) if s.sound.beeps or r.random() < 0.2 else None


@family(0.6)
def tone(s, r):
    return ({}, s.sound.tone, 0, 1) if s.sound.tone else None


@family(0.8)
def sound_kind(s, r):
    return {}, s.sound.kind, 0, 1


# --- picture and sound ----------------------------------------------------------------------------------------

@family(2.0)
def spoken_question(s, r):
    if not s.sound.asks:
        return None
    w, last = s.sound.words, s.sound.words[-1]
    if s.sound.asks == "colour":
        answer = next(t.colour for t in s.things if t.shape == last)
    elif s.sound.asks == "count_shape":
        shape_word = next(x for x in V.SHAPES if V.PLURALS[x] in w)
        answer = number(sum(t.shape == shape_word for t in s.things))
    elif s.sound.asks == "exists":
        answer = yes(any(t.shape == last for t in s.things))
    else:
        answer = s.signs[0].text
    return {}, answer, 1, 1


@family(0.9)
def named_shape_colour(s, r):
    """The colour of the shape that the voice names."""
    said_shapes = {w for w in s.sound.words if w in V.SHAPES}
    if len(said_shapes) != 1:
        return None
    found = [t for t in s.things if t.shape in said_shapes]
    return ({}, found[0].colour, 1, 1) if len(found) == 1 else None


@family(0.9)
def named_shape_exists(s, r):
    said_shapes = {w for w in s.sound.words if w in V.SHAPES}
    if len(said_shapes) != 1:
        return None
    return {}, yes(any(t.shape in said_shapes for t in s.things)), 1, 1


@family(0.9)
def names_colour_of(s, r):
    shapes = Counter(t.shape for t in s.things)
    pool = [t for t in s.things if shapes[t.shape] == 1]
    if not pool or not any(w in V.COLOURS for w in s.sound.words):
        return None
    t = r.choice([t for t in pool if t.colour in s.sound.words] or pool) if r.random() < 0.5 else r.choice(pool)
    return {"x": t.shape}, yes(t.colour in s.sound.words), 1, 1


@family(0.7)
def beeps_or_things(s, r):
    return ({}, yes(s.sound.beeps > len(s.things)), 1, 1) if s.sound.beeps else None


@family(1.2)
def sign_else_sound(s, r):
    """If there is a sign, read it; otherwise the sound decides."""
    if len(s.signs) > 1:
        return None
    return ({}, s.signs[0].text, 1, 0) if s.signs else ({}, s.sound.kind, 1, 1)


@family(0.9)
def beeps_else_count(s, r):
    """If there are beeps, count them; otherwise count a shape."""
    x = r.choice([t.shape for t in s.things] or V.SHAPES)
    if s.sound.beeps:
        return {"xs": V.PLURALS[x]}, number(s.sound.beeps), 0, 1
    return {"xs": V.PLURALS[x]}, number(sum(t.shape == x for t in s.things)), 1, 1


@family(1.2)
def describe_all(s, r):
    items = reading_order(s)
    if not items:
        return None
    sound = f"a voice says {' '.join(s.sound.words)}" if s.sound.words else f"you hear {s.sound.kind}"
    return {}, join([said_of(i) for i in items]) + "; " + sound, 1, 1


# --- clips ----------------------------------------------------------------------------------------------------

@family(3.0, clip=True)
def clip_what(s, r):
    kind, t, detail = s.change
    ends = {"moves": f"moves {detail}", "changes": f"turns {detail}"}.get(kind, kind)
    return {}, f"the {t.name} {ends}", 1, 0


@family(2.0, clip=True)
def clip_direction(s, r):
    kind, t, detail = s.change
    return ({"x": t.name}, detail, 1, 0) if kind == "moves" else None


@family(2.0, clip=True)
def clip_which(s, r):
    kind, t, _ = s.change
    return {"verb": {"changes": "changes color"}.get(kind, kind)}, t.name, 1, 0


@family(1.5, clip=True)
def clip_new_colour(s, r):
    kind, t, detail = s.change
    return ({"x": t.shape}, detail, 1, 0) if kind == "changes" and \
        sum(o.shape == t.shape for f in s.frames[:1] for o in f.things) == 1 else None


@family(1.0, clip=True)
def clip_still(s, r):
    names = sorted({t.name for f in s.frames for t in f.things})
    kind, t, _ = s.change
    x = t.name if r.random() < 0.5 else r.choice(names)
    if kind == "changes" and x != t.name:
        return None
    return {"x": x}, yes(kind == "moves" and x == t.name), 1, 0


# --- neither --------------------------------------------------------------------------------------------------

@family(0.25)
def arithmetic(s, r):
    if r.random() < 0.5:
        a, b = r.randint(0, 6), r.randint(0, 6)
        return {"sum": f"{number(a)} plus {number(b)}"}, number(a + b), 0, 0
    a = r.randint(1, 12)
    b = r.randint(0, a)
    return {"sum": f"{number(a)} minus {number(b)}"}, number(a - b), 0, 0


@family(0.2)
def opposite(s, r):
    w = r.choice(list(V.OPPOSITES))
    return {"w": w}, V.OPPOSITES[w], 0, 0


@family(0.15)
def mix(s, r):
    pair = r.choice(list(V.MIXES))
    a, b = r.sample(pair, 2)
    return {"a": a, "b": b}, V.MIXES[pair], 0, 0


NO_PICTURE, NO_SOUND = "no picture", "no sound"
VISUAL = ("colour", "shape", "count_all", "read", "relation", "describe", "exists", "position")
AUDIBLE = ("say_all", "say_nth", "beep_count", "sound_kind", "said")
TEXT_ONLY = ("arithmetic", "opposite", "mix")


def ask_one(scene: Scene, rng: Random, name: str) -> Question | None:
    """One question of a family, or None where the scene does not allow it."""
    found = FAMILIES[name][0](scene, rng)
    if not found:
        return None
    slots, answer, vision, audio = found
    phrase = rng.choice(PHRASES[name]).format(**slots)
    if (vision and not scene.has_image) or (audio and not scene.has_audio):
        if name not in VISUAL + AUDIBLE:
            return None
        name, answer, vision, audio = "absent", NO_PICTURE if vision else NO_SOUND, 0, 0
    looks = looked_at(scene, name, slots) if vision else 0
    return Question(name, dress(rng, phrase), answer, bool(vision), bool(audio), looks)


def ask(scene: Scene, rng: Random, limit: int) -> list[Question]:
    """Up to `limit` different questions, families drawn by weight without replacement, then again."""
    clip = len(scene.frames) > 1
    names = [n for n, (_, c) in FAMILIES.items()
             if c == clip or (clip and n in (*AUDIBLE, *TEXT_ONLY, "say_count"))]
    order = sorted(names, key=lambda n: rng.random() ** (1 / WEIGHTS[n]), reverse=True)
    questions, seen, absent = [], set(), 0
    for name in order + order[:8]:
        if rng.random() > WEIGHTS[name]:  # the easy families stay rare even where few others apply
            continue
        q = ask_one(scene, rng, name)
        if q and q.question not in seen and (q.family != "absent" or absent < 2):
            absent += q.family == "absent"
            seen.add(q.question)
            questions.append(q)
            if len(questions) == limit:
                break
    return questions
