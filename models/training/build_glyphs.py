"""Rasterises the sign alphabet in the DejaVu and Liberation families; writes data/glyphs.npz.

`bitmaps` u8 [fonts, 36, HEIGHT, WIDTH] (coverage), `widths` [fonts, 36] advances in pixels, `fonts` names. The
cap height is CAP pixels. The training machine then needs no fonts. Usage: python build_glyphs.py
"""
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import vocabulary as V

PATH = Path(__file__).parent / "data" / "glyphs.npz"
HEIGHT, WIDTH, CAP, BASELINE = 64, 80, 48, 56
FONTS = ["dejavu/DejaVuSans", "dejavu/DejaVuSans-Bold", "dejavu/DejaVuSans-BoldOblique", "dejavu/DejaVuSansCondensed-Bold",
         "dejavu/DejaVuSansMono-Bold", "dejavu/DejaVuSerif-Bold", "dejavu/DejaVuSerifCondensed-Bold",
         "liberation*/LiberationSans-Regular", "liberation*/LiberationSans-Bold", "liberation*/LiberationSans-BoldItalic",
         "liberation*/LiberationSerif-Bold", "liberation*/LiberationMono-Bold"]

if __name__ == "__main__":
    bitmaps = np.zeros((len(FONTS), 36, HEIGHT, WIDTH), np.uint8)
    widths = np.zeros((len(FONTS), 36), np.int32)
    for f, name in enumerate(FONTS):
        path = sorted(Path("/usr/share/fonts/truetype").glob(name + ".ttf"))[0]
        probe = ImageFont.truetype(str(path), 200)
        box = probe.getbbox("H")
        font = ImageFont.truetype(str(path), round(200 * CAP / (box[3] - box[1])))
        for g, glyph in enumerate(V.GLYPHS):
            image = Image.new("L", (WIDTH, HEIGHT))
            ImageDraw.Draw(image).text((4, BASELINE), glyph, 255, font, anchor="ls")
            bitmaps[f, g] = np.asarray(image)
            widths[f, g] = min(round(font.getlength(glyph)) + 2, WIDTH - 8)
    np.savez_compressed(PATH, bitmaps=bitmaps, widths=widths, fonts=np.array([f.split("/")[1] for f in FONTS]))
    print(f"{len(FONTS)} fonts, {PATH.stat().st_size / 1e3:.0f} kB")
