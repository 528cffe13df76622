"""What a pocket-world scene holds: things, signs and sounds, placed so that questions have one right answer.

Coordinates are fractions of the picture's side, x to the right and y down. Everything follows from one
`random.Random`; nothing here draws or synthesises.
"""
import math
from dataclasses import dataclass, field, replace
from random import Random

import vocabulary as V

RADII = {"small": (0.040, 0.050), "medium": (0.062, 0.078), "large": (0.098, 0.122)}
SIGN_CAP = (0.043, 0.080)   # cap height of printed text; smaller is harder for a model that sees few pixels
FIRST_SIGN = 12             # number of the first sign among a picture's items
GLYPH_ASPECT = 0.86         # mean advance of a glyph in cap heights


@dataclass(frozen=True)
class Thing:
    shape: str
    colour: str
    style: str
    size: str
    x: float
    y: float
    r: float
    angle: float  # degrees

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def full_name(self) -> str:
        return self.name if self.style == "solid" else f"{self.style} {self.name}"


@dataclass(frozen=True)
class Sign:
    text: str
    x: float
    y: float
    cap: float
    angle: float
    font: int
    plate: int  # 0 bare text, else an index of the renderer's plate colours

    @property
    def half(self) -> tuple[float, float]:
        """Half width and half height of the unrotated plate."""
        return (len(self.text) * GLYPH_ASPECT * self.cap / 2 + 0.5 * self.cap, 0.95 * self.cap)

    @property
    def box(self) -> tuple[float, float]:
        """Half extents of the upright box around the rotated plate."""
        w, h = self.half
        c, s = abs(math.cos(math.radians(self.angle))), abs(math.sin(math.radians(self.angle)))
        return w * c + h * s, w * s + h * c


@dataclass(frozen=True)
class Sound:
    words: tuple[str, ...] = ()
    beeps: int = 0
    tone: str | None = None
    voice: int = 0
    asks: str | None = None  # the question family that the voice asks
    noise: float = 0.0
    offset: float = 0.0      # seconds before the first event
    gaps: tuple[float, ...] = ()
    rate: float = 1.0        # playback rate of the words
    pitch: float = 900.0     # Hz of beeps and tones

    @property
    def kind(self) -> str:
        kinds = [k for k, v in (("a voice", self.words), ("beeps", self.beeps), ("a tone", self.tone)) if v]
        return " and ".join(kinds) or "nothing"


@dataclass(frozen=True)
class Frame:
    things: tuple[Thing, ...] = ()
    signs: tuple[Sign, ...] = ()


@dataclass(frozen=True)
class Question:
    family: str
    question: str
    answer: str
    vision: bool  # the answer needs the picture
    audio: bool   # the answer needs the sound
    looks: int = 0  # bit set of the items (`Scene.items`) that decide the answer


@dataclass
class Scene:
    split: str
    seed: int
    frames: list[Frame]
    sound: Sound
    has_image: bool = True
    has_audio: bool = True
    change: tuple[str, Thing, str] | None = None  # clips: (kind, the thing, direction or new colour)
    row: bool = False                             # placed in columns, so that left to right is certain
    questions: list[Question] = field(default_factory=list)

    @property
    def things(self):
        return self.frames[0].things

    @property
    def signs(self):
        return self.frames[0].signs

    @property
    def items(self):
        """Things by number, signs from `FIRST_SIGN` on: what `Question.looks` counts."""
        return {**dict(enumerate(self.things)), **{FIRST_SIGN + i: s for i, s in enumerate(self.signs)}}


def free_of_things(x, y, r, things) -> bool:
    """Overlap is allowed as long as both stay mostly visible."""
    return all(r + t.r - math.hypot(x - t.x, y - t.y) <= 0.5 * min(r, t.r) for t in things)


def free_of_signs(x, y, r, signs) -> bool:
    for s in signs:
        c, n = math.cos(math.radians(s.angle)), math.sin(math.radians(s.angle))
        u, v = (x - s.x) * c + (y - s.y) * n, -(x - s.x) * n + (y - s.y) * c
        w, h = s.half
        if math.hypot(max(abs(u) - w, 0), max(abs(v) - h, 0)) < r + 0.01:
            return False
    return True


def random_text(rng: Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(V.SIGN_WORDS)
    return "".join(rng.choice(V.RANDOM_GLYPHS) for _ in range(rng.choices(range(1, 9), (2, 3, 4, 4, 4, 3, 3, 3))[0]))


def place_sign(rng: Random, signs, x_range=None, fonts: int = 12) -> Sign | None:
    text, cap, angle = random_text(rng), rng.uniform(*SIGN_CAP), rng.uniform(-25, 25) * rng.choice((0.3, 1, 1))
    sign = Sign(text, 0, 0, cap, angle, rng.randrange(fonts), rng.randrange(5))
    bw, bh = sign.box
    if bw > 0.45:
        return None
    for _ in range(12):
        x = rng.uniform(bw + 0.02, 0.98 - bw) if x_range is None else min(max(rng.uniform(*x_range), bw + 0.02), 0.98 - bw)
        y = rng.uniform(bh + 0.02, 0.98 - bh)
        if all(abs(x - s.x) > bw + s.box[0] + 0.02 or abs(y - s.y) > bh + s.box[1] + 0.02 for s in signs):
            return replace(sign, x=x, y=y)
    return None


def place_thing(rng: Random, things, signs, shapes, colours, crowd: int, x_range=None) -> Thing | None:
    weights = (3, 4, 3) if crowd <= 5 else (4, 4, 1) if crowd <= 8 else (6, 3, 0.3)
    size = rng.choices(V.SIZES, weights)[0]
    r = rng.uniform(*RADII[size])
    shape, colour = rng.choice(shapes), rng.choice(colours)
    style = "solid" if size == "small" else rng.choices(V.STYLES, (7, 2, 2))[0]
    for _ in range(12):
        x = rng.uniform(r + 0.02, 0.98 - r) if x_range is None else min(max(rng.uniform(*x_range), r + 0.02), 0.98 - r)
        y = rng.uniform(r + 0.02, 0.98 - r)
        if free_of_things(x, y, r, things) and free_of_signs(x, y, r, signs):
            return Thing(shape, colour, style, size, x, y, r, rng.uniform(-20, 20))
    return None


def make_frame(rng: Random, row: bool) -> Frame:
    n_signs = rng.choices((0, 1, 2), (30, 48, 22))[0]
    n_things = rng.choices(range(1, 13), (4, 7, 9, 10, 10, 9, 8, 7, 6, 5, 4, 4))[0]
    shapes, colours = V.SHAPES, list(V.COLOURS)
    if rng.random() < 0.35:  # few kinds, many of each: something to count
        shapes, colours = rng.sample(V.SHAPES, rng.randint(2, 3)), rng.sample(colours, rng.randint(2, 3))
    things, signs = [], []
    if row:
        n_things = min(n_things, 10 - n_signs)
        columns = n_things + n_signs
        ranges = [((i + 0.3) / columns, (i + 0.7) / columns) for i in range(columns)]
        rng.shuffle(ranges)
        for x_range in ranges[:n_signs]:
            if sign := place_sign(rng, signs, x_range):
                signs.append(sign)
        for x_range in ranges[n_signs:]:
            if thing := place_thing(rng, things, signs, shapes, colours, n_things, x_range):
                things.append(thing)
    else:
        for _ in range(n_signs):
            if sign := place_sign(rng, signs):
                signs.append(sign)
        for _ in range(n_things):
            if thing := place_thing(rng, things, signs, shapes, colours, n_things):
                things.append(thing)
    return Frame(tuple(things), tuple(signs))


def make_clip(rng: Random):
    """Four frames in which one thing moves, appears, vanishes or changes colour."""
    shapes, colours = V.SHAPES, list(V.COLOURS)
    while True:
        things, signs = [], []
        if rng.random() < 0.3 and (sign := place_sign(rng, signs)):
            signs.append(sign)
        names = set()
        for _ in range(rng.randint(2, 6)):
            t = place_thing(rng, things, signs, shapes, colours, 5)
            if t and t.name not in names:
                names.add(t.name)
                things.append(t)
        if len(things) < 2:
            continue
        kind = rng.choice(("moves", "moves", "appears", "disappears", "changes"))
        i = rng.randrange(len(things))
        t, others = things[i], things[:i] + things[i + 1:]
        cut = rng.randint(1, 3)
        if kind == "moves":
            dx, dy = rng.choice(((1, 0), (-1, 0), (0, 1), (0, -1)))
            step = rng.uniform(0.09, 0.14)
            path = [replace(t, x=t.x + dx * step * k, y=t.y + dy * step * k) for k in range(4)]
            last = path[-1]
            if not (t.r < last.x < 1 - t.r and t.r < last.y < 1 - t.r):
                continue
            if not all(free_of_things(p.x, p.y, p.r, others) and free_of_signs(p.x, p.y, p.r, signs) for p in path):
                continue
            detail = {(1, 0): "right", (-1, 0): "left", (0, 1): "down", (0, -1): "up"}[dx, dy]
            states = path
        elif kind == "changes":
            detail = rng.choice([c for c in colours if f"{c} {t.shape}" not in names])
            states = [t if k < cut else replace(t, colour=detail) for k in range(4)]
        else:
            detail = ""
            states = [t if (k < cut) == (kind == "disappears") else None for k in range(4)]
        frames = [Frame(tuple(o for o in things[:i] + ([s] if s else []) + things[i + 1:]), tuple(signs)) for s in states]
        return frames, (kind, t, detail)
