"""Compare the outputs of one pipeline on several systems: `python compare_locks.py FOLDER`, FOLDER/SYSTEM/dvc.lock.

Prints a Markdown table of the outputs whose bytes differ.
"""

import sys
from pathlib import Path

import yaml


def hashes(path: Path) -> dict[str, str]:
    """Read the hash of each output from a dvc.lock."""
    stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def comparison(outputs: dict[str, dict[str, str]]) -> str:
    """Compare hashes of outputs, by system; equal letters in a row are equal bytes."""
    if len(outputs) < 2:
        return f"Nothing to compare: the sample ran on {', '.join(outputs) or 'no system'} only."
    paths = sorted(set().union(*outputs.values()))
    rows = []
    for path in paths:
        digests = [files.get(path, "missing") for files in outputs.values()]
        if len(set(digests)) > 1:
            letters = ["ABCDEFGH"[list(dict.fromkeys(digests)).index(digest)] for digest in digests]
            rows.append(f"| {path} | {' | '.join(letters)} |")
    if not rows:
        return f"All {len(paths)} outputs have the same bytes on {', '.join(outputs)}."
    head = f"{len(rows)} of {len(paths)} outputs differ; equal letters are equal bytes.\n\n| output |"
    return f"{head} {' | '.join(outputs)} |\n|{' --- |' * (len(outputs) + 1)}\n" + "\n".join(rows)


if __name__ == "__main__":
    print(comparison({path.parent.name: hashes(path) for path in sorted(Path(sys.argv[1]).glob("*/dvc.lock"))}))
