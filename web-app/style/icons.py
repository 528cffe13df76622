"""Draws the icons of the installed page, in web-app/icons, after icon.svg.

    python3 web-app/style/icons.py      (needs Pillow)

A maskable icon fills its square, and keeps what matters within the middle 80 %, since launchers cut it to their shape.
"""

from pathlib import Path

from PIL import Image, ImageDraw

GRID = 32
PAPER, EDGE, CLOUD = "#1b1d22", "#5fd0bb", "#a5aeff"
PEN = 3.4
# The device's two lines, and the cloud's mark behind them: points on the grid of icon.svg.
LINES = [(EDGE, [(7, 12), (18, 12)]), (EDGE, [(7, 20), (14, 20)]), (CLOUD, [(18, 20), (21, 23), (26, 15)])]
OVERSAMPLING = 8


def draw(side_px: int, maskable: bool) -> Image.Image:
    size = side_px * OVERSAMPLING
    picture = Image.new("RGBA", (size, size))
    pen = ImageDraw.Draw(picture)
    scale = size / GRID
    pen.rounded_rectangle((0, 0, size - 1, size - 1), 0 if maskable else 8 * scale, PAPER)
    shrink = 0.8 if maskable else 1.0
    for colour, points in LINES:
        at = [tuple(((value - GRID / 2) * shrink + GRID / 2) * scale for value in point) for point in points]
        width = PEN * shrink * scale
        pen.line(at, colour, round(width), joint="curve")
        for x, y in (at[0], at[-1]):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), colour)
    return picture.resize((side_px, side_px), Image.Resampling.LANCZOS)


def main() -> None:
    folder = Path(__file__).parent.parent / "icons"
    folder.mkdir(exist_ok=True)
    for name, side_px, maskable in [
        ("icon-192", 192, False),
        ("icon-512", 512, False),
        ("icon-maskable-512", 512, True),
    ]:
        draw(side_px, maskable).quantize(64).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
