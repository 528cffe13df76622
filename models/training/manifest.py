"""MANIFEST.json of a folder of weights or data: size and hash of each file, how they were made, licence.

    python manifest.py            # data/ and ../eval/, after their scripts have run

`export.py` writes those of checkpoints.
"""
import hashlib
import json
from pathlib import Path

LICENCE = "Apache-2.0 OR MIT"
HERE = Path(__file__).resolve().parent


def write_manifest(folder: Path, entries: dict, kept_out: tuple[str, ...] = ()) -> None:
    """`entries` stand before the files; `kept_out` are names of files that do not ship."""
    files = {p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()}
             for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in ("MANIFEST.json", *kept_out)}
    (folder / "MANIFEST.json").write_text(json.dumps({**entries, "files": files}, indent=2) + "\n")


if __name__ == "__main__":
    write_manifest(HERE / "data", {"name": "training-data", "licence": LICENCE, "how": {
        "glyphs.npz": "build_glyphs.py", "held_out_speech.npz": "build_speech.py with espeak-ng",
        "tokenizer.json": "build_tokenizer.py"}}, kept_out=("speech.npz",))
    write_manifest(HERE.parent / "eval", {"name": "evaluation-samples", "licence": LICENCE, "how": {
        "gallery": "make_eval.py --gallery", "cards": "make_eval.py --cards", "probe_folds": "train_probe.py, its OUT/folds"}})
