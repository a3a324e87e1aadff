"""Write the table of docs/speed.md from benchmarks/results/*.json.

python -m benchmarks.speed_table
"""

from pathlib import Path

from benchmarks.timing import RESULTS_DIR
from viadet.project.files import read_json, write_text

PAGE = Path(__file__).resolve().parents[1] / "docs" / "speed.md"
BEGIN, END = "<!-- written by python -m benchmarks.speed_table -->\n", "<!-- end of the table -->\n"
TITLES = {
    "training_step": "Training",
    "earlier": "This project before",
    "gpu": "A GPU",
    "inference": "Detecting",
    "cams": "Class activation maps",
    "many_images": "Many images",
    "start_up": "Start-up",
}
SHOWN = ("torch", "effdet", "grad-cam", "dvc", "python")  # versions


def render(folder: Path = RESULTS_DIR) -> str:
    """Render a table for each benchmark that was run, in Markdown."""
    files = {name: folder / f"{name}.json" for name in TITLES}
    return "\n".join(render_one(TITLES[name], read_json(path)) for name, path in files.items() if path.exists())


def render_one(title: str, results: dict) -> str:
    """Render a benchmark's table, with settings, machine and versions below."""
    lines = [f"### {title}\n", "| | unit | viadet | compared with | its figure | ratio |", "|---|---|---|---|---|---|"]
    for row in results["rows"]:
        figures = (figure(row[key]) for key in ("value", "reference_value", "ratio"))
        lines.append("| {what} | {unit} | {} | {reference} | {} | {} |".format(*figures, **row))
    settings = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in sorted(results["settings"].items()))
    versions = ", ".join(f"{name} {results['versions'][name]}" for name in SHOWN)
    machine = results["machine"]
    lines.append(f"\n{machine['cores']} cores, {machine['cpu']}, {machine['system']}; {settings}; {versions}.\n")
    return "\n".join(lines)


def figure(value: float | str | None) -> str:
    """Render what a cell shows: nothing where there is nothing to compare with."""
    return f"{value:g}" if isinstance(value, int | float) else value or ""


def with_table(page: str, table: str) -> str:
    """Replace the table between the page's two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    """Write the page."""
    write_text(PAGE, with_table(PAGE.read_text(encoding="utf-8"), render()))


if __name__ == "__main__":
    main()
