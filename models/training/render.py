"""Draws a frame of the pocket world with antialiasing, at any resolution.

`draw(frame, size, seed)` is u8 RGB [size, size, 3]; `draw_labels` is the matching map of what is where (for the
auxiliary losses). Camera effects are not here: see `capture.py`.
"""
import math
from functools import cache
from random import Random

import cv2
import numpy as np

import vocabulary as V
from build_glyphs import CAP, PATH
from scene import FIRST_SIGN, Frame, Sign, Thing

SHIFT = 4  # sub-pixel bits of cv2's polygon coordinates
CARDS = [(255, 255, 255), (252, 250, 244), (244, 248, 252), (250, 244, 236), (240, 246, 238), (246, 240, 246), (232, 232, 228)]
PLATES = [None, (255, 255, 255), (255, 246, 190), (214, 232, 255), (52, 62, 88)]  # of signs; the last takes light text
INKS = [(24, 24, 28), (24, 24, 28), (30, 26, 20), (20, 28, 60), (248, 248, 244)]

cv2.setNumThreads(0)


@cache
def glyphs():
    data = np.load(PATH)
    return data["bitmaps"], data["widths"]


@cache
def outline(shape: str):
    """Polygon of a shape inside the unit disc, [n, 2], y down."""
    turn = lambda n, off=0.0: np.arange(n) * (2 * np.pi / n) + off
    ring = lambda a, r=1.0: np.stack([r * np.sin(a), -r * np.cos(a)], 1)
    if shape == "circle":
        return ring(turn(40), 0.95)
    if shape == "square":
        return ring(turn(4, np.pi / 4), 1.12)
    if shape == "triangle":
        return ring(turn(3), 1.1) + [0, 0.12]
    if shape == "star":
        return ring(turn(10), np.where(np.arange(10) % 2, 0.46, 1.1))
    if shape == "heart":
        t = turn(40)
        return np.stack([16 * np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))], 1) / 16.5
    if shape == "cross":
        a = 0.36
        return np.array([(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)])
    outer = np.radians(np.linspace(53.1, 306.9, 36))   # moon: the unit disc less a disc at (0.42, 0)
    inner = np.radians(np.linspace(282.7, 77.3, 30))
    return np.concatenate([np.stack([np.cos(outer), np.sin(outer)], 1),
                           np.stack([0.42 + 0.82 * np.cos(inner), 0.82 * np.sin(inner)], 1)]) + [0.15, 0]


def polygon(t: Thing, scale: float):
    a = math.radians(t.angle)
    turn = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    return (outline(t.shape) @ turn * t.r + (t.x, t.y)) * scale


def fixed(points):
    return np.round((points - 0.5) * (1 << SHIFT)).astype(np.int32)


def draw_thing(image, t: Thing, rng: Random):
    size = image.shape[0]
    points = polygon(t, size)
    margin = 2 + 0.15 * t.r * size
    x0, y0 = np.maximum(np.floor(points.min(0) - margin), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(points.max(0) + margin), size).astype(int)
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    local = fixed(points - (x0, y0))
    if t.style == "hollow":
        cv2.polylines(mask, [local], True, 255, max(2, round(0.26 * t.r * size)), cv2.LINE_AA, SHIFT)
    else:
        cv2.fillPoly(mask, [local], 255, cv2.LINE_AA, SHIFT)
    colour = np.array([min(255, max(0, c + rng.randint(-14, 14))) for c in V.COLOURS[t.colour]], np.float32)
    roi = image[y0:y1, x0:x1]
    paint = colour
    if t.style == "striped":
        yy, xx = np.mgrid[y0:y1, x0:x1]
        period = 0.5 * t.r * size
        a = math.radians(t.angle + 45)
        wave = np.clip(np.sin((xx * math.cos(a) + yy * math.sin(a)) * (2 * math.pi / period)) * 3 + 0.5, 0, 1)[..., None]
        paint = colour * wave + (0.2 * colour + 0.8 * 250) * (1 - wave)
    alpha = mask[..., None].astype(np.float32) / 255
    roi[:] = roi + (paint - roi) * alpha


def text_strip(sign: Sign):
    """Coverage of the text at the glyphs' own size, and the indices of where each glyph ends."""
    bitmaps, widths = glyphs()
    index = [V.GLYPHS.index(c) for c in sign.text]
    advances = widths[sign.font, index]
    strip = np.zeros((bitmaps.shape[2], int(advances.sum()) + 16), np.uint8)
    x, ends = 0, []
    for g, w in zip(index, advances):
        part = strip[:, x:x + bitmaps.shape[3]]
        np.maximum(part, bitmaps[sign.font, g][:, :part.shape[1]], out=part)
        x += int(w)
        ends.append(x)
    return strip, ends, index


def sign_frame(sign: Sign, size: int, strip_width: int):
    """Affine map from strip pixels to image pixels; the text fits the plate whatever its font."""
    scale = sign.cap * size / CAP
    scale = min(scale, 2 * (sign.half[0] - 0.2 * sign.cap) * size / strip_width)
    a = math.radians(sign.angle)
    m = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]) * scale
    centre = np.array([strip_width / 2, 32.0])  # the caps span 8..56
    return np.concatenate([m, ((sign.x * size, sign.y * size) - m @ centre)[:, None]], 1), scale


def plate_corners(sign: Sign, size: int):
    w, h = sign.half
    a = math.radians(sign.angle)
    turn = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    return (np.array([(-w, -h), (w, -h), (w, h), (-w, h)]) @ turn + (sign.x, sign.y)) * size


def draw_sign(image, sign: Sign):
    size = image.shape[0]
    corners = plate_corners(sign, size)
    if plate := PLATES[sign.plate]:
        cv2.fillPoly(image, [fixed(corners)], plate, cv2.LINE_AA, SHIFT)
        cv2.polylines(image, [fixed(corners)], True, (90, 90, 96), max(1, round(size / 220)), cv2.LINE_AA, SHIFT)
    strip, _, _ = text_strip(sign)
    matrix, scale = sign_frame(sign, size, strip.shape[1])
    if scale < 1:  # shrink with area averaging first, so that the rotation cannot alias
        small = cv2.resize(strip, (max(1, round(strip.shape[1] * scale)), max(1, round(64 * scale))), interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([strip.shape[1] / small.shape[1], 64 / small.shape[0], 1])
        strip = small
    x0, y0 = np.maximum(np.floor(corners.min(0)) - 2, 0).astype(int)
    x1, y1 = np.minimum(np.ceil(corners.max(0)) + 2, size).astype(int)
    matrix = matrix.copy()
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5 - (x0, y0)  # pixel centres
    alpha = cv2.warpAffine(strip, matrix, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)[..., None].astype(np.float32) / 255
    roi = image[y0:y1, x0:x1]
    roi[:] = roi + (np.array(INKS[sign.plate], np.float32) - roi) * np.minimum(alpha * 1.15, 1)


def draw_card(size: int, rng: Random):
    base = np.array(rng.choice(CARDS), np.float32)
    kind = rng.random()
    if kind < 0.5:
        return np.broadcast_to(base.astype(np.uint8), (size, size, 3)).copy()
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(2, 7), (rng.choice((3, 6, 12, 40)),) * 2)
    texture = cv2.resize(noise.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)[..., None]
    image = np.clip(base - 5 + texture, 0, 255).astype(np.uint8)
    if kind > 0.85:  # ruled paper
        step = size * rng.uniform(0.06, 0.1)
        for i in range(1, int(size / step) + 1):
            cv2.line(image, (0, int(i * step)), (size, int(i * step)), (205, 215, 228), max(1, size // 300), cv2.LINE_AA)
    return image


def draw(frame: Frame, size: int, seed: int):
    """u8 RGB [size, size, 3]; the seed picks card and paint, the same for all frames of a clip."""
    rng = Random(seed)
    image = draw_card(size, rng)
    for t in frame.things:
        draw_thing(image, t, Random(f"{seed}{t.shape}{t.r}"))
    for s in frame.signs:
        draw_sign(image, s)
    return image


def draw_labels(frame: Frame, size: int):
    """u8 [size, size, 3]: index of THING_LABELS, 1 + index of GLYPHS (0: no glyph), 1 + number of the item on top."""
    things, letters, items = (np.zeros((size, size), np.uint8) for _ in range(3))
    for i, t in enumerate(frame.things):
        outline = [np.round(polygon(t, size) - 0.5).astype(np.int32)]
        cv2.fillPoly(things, outline, V.THING_LABELS.index(t.name))
        cv2.fillPoly(items, outline, 1 + i)
    for i, s in enumerate(frame.signs):
        outline = [np.round(plate_corners(s, size) - 0.5).astype(np.int32)]
        cv2.fillPoly(things, outline, len(V.THING_LABELS) - 1)
        cv2.fillPoly(items, outline, 1 + FIRST_SIGN + i)
        strip, ends, index = text_strip(s)
        matrix, _ = sign_frame(s, size, strip.shape[1])
        x = 4
        for end, g in zip(ends, index):
            box = np.array([(x, 8), (end + 4, 8), (end + 4, 56), (x, 56)]) @ matrix[:, :2].T + matrix[:, 2]
            cv2.fillPoly(letters, [np.round(box - 0.5).astype(np.int32)], g + 1)
            x = end + 4
    return np.stack([things, letters, items], -1)
