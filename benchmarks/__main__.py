"""Run all benchmarks in turn and write docs/speed.md's table.

python -m benchmarks [--images FOLDER COCO] [--model FOLDER] [--threads N]
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks import speed_table
from benchmarks.images import add_cpu_options


def main() -> None:
    """Give each benchmark a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cpu_options(parser)
    parser.add_argument("--model", type=Path, help="folder of a trained model, for inference; default: untrained")
    options = parser.parse_args()
    shared = ["--threads", str(options.threads), *(["--images", *map(str, options.images)] if options.images else [])]
    model = ["--model", str(options.model)] if options.model else []
    arguments = {"start_up": [], "inference": [*shared, *model], "cams": shared, "training_step": shared}
    for name, given in arguments.items():
        print(f"benchmarks.{name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *given], check=True)
    speed_table.main()


if __name__ == "__main__":
    main()
