"""Draw annotations in the real VIA programs and save every file that they export.

    cd tests && python -m annotations.draw_in_via FOLDER_OF_VIA annotations/via_exports

FOLDER_OF_VIA holds the programs, each one HTML page: via1.html (1.0.6), via2.html (2.0.10), via3_image.html (3.0.10).
Chromium runs them: regions are drawn with the mouse, and attributes are set in the programs' own forms.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from mimetypes import guess_type
from pathlib import Path
from urllib.parse import unquote, urlsplit

from annotations.via_work import (
    ATTRIBUTES,
    IMPORTED,
    PATHS,
    RECT,
    SITE,
    UNREACHABLE,
    Point,
    Region,
    Values,
    images_of,
    regions_of,
    write_images,
)
from playwright.sync_api import Page, Route, sync_playwright

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGES = {"via1": "via1.html", "via2": "via2.html", "via3": "via3_image.html"}
Attributes = dict[str, tuple[str, dict[str, str]]]  # kind and options, as in via_work.ATTRIBUTES


@contextmanager
def via_page(program: str, via_folder: Path, images: Path) -> Iterator[Page]:
    """Open a program; relative image paths are served from `images`."""

    def answer(route: Route) -> None:
        name = unquote(urlsplit(route.request.url).path).lstrip("/")
        path = via_folder / name if name in PAGES.values() else images / name
        if path.is_file():
            route.fulfill(body=path.read_bytes(), content_type=guess_type(name)[0])
        else:
            route.abort()

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.route("**/*", answer)
        page.goto(SITE + PAGES[program])
        page.add_style_tag(content="#message_panel, #_via_message_container { pointer-events: none; }")  # lies above
        yield page
        browser.close()


def drag(page: Page, canvas: str, start: Point, end: Point) -> None:
    """Press the mouse at one point of the canvas, px of the canvas, and release it at another."""
    (x0, y0), (x1, y1) = positions(page, canvas, [start, end])
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1)
    page.mouse.up()


def positions(page: Page, canvas: str, points: list[Point]) -> list[Point]:
    """Places on the page of px of the canvas; the last row and column are the nearest to points at its edge."""
    box = page.evaluate(f"{canvas}.getBoundingClientRect().toJSON()")
    left, top, width, height = (round(box[key]) for key in ("left", "top", "width", "height"))
    # A quarter more, since the browser cuts fractions off.
    return [(left + min(round(x), width - 1) + 0.25, top + min(round(y), height - 1) + 0.25) for x, y in points]


def download(page: Page, action: str, path: Path) -> None:
    """Run an action of the program and save the file that it offers."""
    with page.expect_download() as caught:
        page.evaluate(action)
    caught.value.save_as(path)


# Both take the id of an element of the form and the value to set.
FILL_IN_VIA1 = """([id, value]) => {
  const input = document.getElementById(id);
  input.value = value;
  input.onchange();
}"""
FILL_IN_VIA2 = """([id, kind, value]) => {
  annotation_editor_show();
  const input = document.getElementById(id);
  if (kind == 'radio' || kind == 'checkbox') { input.click(); return; }
  input.value = value;
  input.onchange();
}"""


class Via1:
    """VIA 1.0.6: text attributes in a table below the image."""

    canvas = "_via_reg_canvas"
    show_function = "show_image"

    def __init__(self, page: Page) -> None:
        self.page = page

    def define(self, attributes: Attributes) -> None:
        for name in attributes:
            self.page.evaluate("name => { _via_region_attributes[name] = true; }", name)

    def add_files(self, paths: list[Path]) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.evaluate("sel_local_images()")
        chooser.value.set_files(paths)
        self.page.wait_for_function("_via_current_image_loaded && !_via_is_loading_current_image")

    def show(self, name: str) -> None:
        names = self.page.evaluate("_via_image_id_list.map(id => _via_img_metadata[id].filename)")
        index = names.index(name)
        self.page.evaluate(f"{self.show_function}({index})")
        self.page.wait_for_function(f"_via_image_index == {index} && !_via_is_loading_current_image")
        self.page.wait_for_timeout(100)

    def draw(self, region: Region) -> None:
        scale = self.page.evaluate("_via_canvas_scale")
        points = [(x / scale, y / scale) for x, y in region.points]
        self.deselect()
        self.page.evaluate(f"select_region_shape({json.dumps(region.shape)})")
        if region.shape in ("polygon", "polyline", "point"):
            self.click_points(points)
            if region.shape != "point":
                self.page.keyboard.press("Enter")
        else:
            drag(self.page, self.canvas, *points)
        if region.handle:
            drag(self.page, self.canvas, *((x / scale, y / scale) for x, y in region.handle))
        self.fill_in(region.values)

    def deselect(self) -> None:
        self.page.evaluate("_via_is_region_selected = false; toggle_all_regions_selection(false)")

    def click_points(self, points: list[Point]) -> None:
        """Click vertices; inside of another region the first click selects that one, and a further one starts."""
        for number, point in enumerate(positions(self.page, self.canvas, points)):
            self.page.mouse.move(*point)
            for _ in range(6):
                self.page.mouse.down()
                self.page.mouse.up()
                if number or self.page.evaluate("_via_is_user_drawing_polygon || _via_current_shape == 'point'"):
                    break

    def fill_in(self, values: Values) -> None:
        if not self.page.evaluate("_via_is_reg_attr_panel_visible"):
            self.page.evaluate("toggle_reg_attr_panel()")
        self.page.evaluate("update_region_attributes_input_panel()")
        number = self.page.evaluate("_via_img_metadata[_via_image_id].regions.length - 1")
        for name, value in values.items():
            self.page.evaluate(FILL_IN_VIA1, [f"r#{name}#{number}", value])
        self.page.evaluate("try { toggle_reg_attr_panel() } catch (error) {}")  # hides it, then fails: a fault of VIA 1

    def export(self, folder: Path) -> None:
        download(self.page, "download_all_region_data('json')", folder / "via_region_data.json")
        download(self.page, "download_all_region_data('csv')", folder / "via_region_data.csv")


class Via2(Via1):
    """VIA 2.0.10: attributes with options, projects, files by path and URL."""

    show_function = "_via_show_img"

    def define(self, attributes: Attributes) -> None:
        region = {
            name: {"type": kind, "description": "", "options": options, "default_options": {}}
            if options
            else {"type": kind, "description": "", "default_value": ""}
            for name, (kind, options) in attributes.items()
        }
        self.page.evaluate("project_import_attributes_from_json", json.dumps({"region": region, "file": {}}))

    def add_path(self, name: str, served: str | None = None) -> None:
        """Add a file by path or URL; `served`: the image to show, if the browser can't open that name."""
        self.page.evaluate("name => project_file_add_url(name)", name)
        if served:
            self.page.evaluate("([name, url]) => { _via_img_src[name + '-1'] = url; }", [name, SITE + served])
        self.page.evaluate("update_img_fn_list()")

    def deselect(self) -> None:
        super().deselect()
        self.page.evaluate("annotation_editor_hide()")  # it lies above the image

    def import_json(self, name: str, shape: dict, values: Values) -> None:
        """Import the annotations of an image without its size."""
        entry = {"filename": name, "regions": [{"shape_attributes": shape, "region_attributes": values}]}
        self.page.evaluate("text => import_annotations_from_json(text)", json.dumps({name: entry}))

    def fill_in(self, values: Values) -> None:
        number = self.page.evaluate("_via_img_metadata[_via_image_id].regions.length - 1")
        for name, value in values.items():
            kind = self.page.evaluate("name => _via_attributes.region[name].type", name)
            for option in value.split(",") if kind == "checkbox" else [value]:
                id_ = f"{name}__{number}" + (f"__{option}" if kind in ("radio", "checkbox") else "")
                self.page.evaluate(FILL_IN_VIA2, [id_, kind, option])

    def export(self, folder: Path) -> None:
        save = "project_save_confirmed({project_name: {value: 'via_project'}})"
        download(self.page, save, folder / "via_project.json")
        download(self.page, "download_all_region_data('json')", folder / "via_project_json.json")
        download(self.page, "download_all_region_data('csv')", folder / "via_project_csv.csv")
        download(self.page, "download_all_region_data('coco', 'json')", folder / "via_project_coco.json")


FILL_IN_VIA3 = """values => {
  const annotator = via.va.file_annotator[0][0];
  annotator._creg_select_one(via.d.cache.mid_list[annotator.vid].at(-1));
  for (const [id, { aname, options }] of Object.entries(via.d.store.attribute)) {
    if (!(aname in values)) continue;
    annotator._smetadata_show();
    const form = annotator.smetadata_container.querySelector(`td[data-aid="${id}"]`);
    const text = form.querySelector('textarea, select');
    const chosen = Object.keys(options).filter(option => values[aname].split(',').includes(options[option]));
    if (text) {
      text.value = text.tagName == 'SELECT' ? chosen[0] : values[aname];
      text.dispatchEvent(new Event('change'));
    }
    else for (const option of chosen) form.querySelector(`input[value="${option}"]`).click();
  }
  annotator._creg_select_none();
  annotator._smetadata_hide();
}"""


class Via3:
    """VIA 3.0.10 for images: attributes have ids, their options are numbered; images are shown enlarged."""

    annotator = "via.va.file_annotator[0][0]"
    canvas = annotator + ".input"
    kinds = {"text": 1, "checkbox": 2, "radio": 3, "dropdown": 4}
    shapes = {"rect": "RECTANGLE"}

    def __init__(self, page: Page) -> None:
        self.page = page

    def define(self, attributes: Attributes) -> None:
        for name, (kind, options) in attributes.items():
            self.page.evaluate(
                """async ([name, kind, options]) => {
                  const id = await via.d.attribute_add(name, 'FILE1_Z0_XY1', kind);
                  if (options) await via.d.attribute_update_options_from_csv(id, options);
                }""",
                [name, self.kinds[kind], ", ".join(options)],
            )

    def add_files(self, paths: list[Path]) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.evaluate("via.vm._on_add_media_local()")
        chooser.value.set_files(paths)
        self.page.wait_for_function("via.d.store.project.vid_list.length > 0")

    def add_path(self, name: str, _served: str | None) -> None:
        """Add a file by path or URL, as from a list of them."""
        self.page.evaluate("name => via.vm._on_add_media_bulk_file_load(name + '\\n')", name)

    def show(self, name: str) -> None:
        self.page.evaluate(
            """name => {
              const { view, file, project } = via.d.store;
              via.va.view_show(project.vid_list.find(v => file[view[v].fid_list[0]].fname == name));
            }""",
            name,
        )
        self.page.wait_for_function(f"{self.canvas} && {self.canvas}.style.pointerEvents != 'none'")

    def draw(self, region: Region) -> None:
        scale = self.page.evaluate(f"{self.annotator}.cscale")
        points = [(x / scale, y / scale) for x, y in region.points]
        shape = self.shapes.get(region.shape, region.shape.upper())
        self.page.evaluate("shape => via.cp._set_region_shape(shape)", shape)
        if len(points) == 2:
            drag(self.page, self.canvas, *points)
        else:
            for point in positions(self.page, self.canvas, points):
                self.page.mouse.move(*point)
                self.page.mouse.down()
                self.page.mouse.up()
        if shape in ("POLYGON", "POLYLINE"):
            self.page.keyboard.press("Enter")
        self.fill_in(region.values)

    def fill_in(self, values: Values) -> None:
        self.page.evaluate(FILL_IN_VIA3, values)

    def export(self, folder: Path) -> None:
        download(self.page, "via.d.project_save()", folder / "via_project.json")
        download(self.page, "via.ie.export_to_file('via3_csv')", folder / "via_project_export.csv")
        download(self.page, "via.ie.export_to_file('temporal_segments_csv')", folder / "temporal_segments_export.csv")


PROGRAMS = {"via1": Via1, "via2": Via2, "via3": Via3}


def draw_files(program: str, via_folder: Path, images: Path, exports: Path) -> None:
    """Draw on image files chosen from the disk, and export."""
    with via_page(program, via_folder, images) as page:
        via = PROGRAMS[program](page)
        via.define(ATTRIBUTES)
        via.add_files([images / name for name in images_of(program)])
        for name, regions in regions_of(program).items():
            via.show(name)
            for region in regions:
                via.draw(region)
        exports.mkdir(parents=True, exist_ok=True)
        via.export(exports)


def draw_paths(program: str, via_folder: Path, images: Path, exports: Path) -> None:
    """Draw a rectangle on images that were added by path or URL, and export."""
    with via_page(program, via_folder, images) as page:
        via = PROGRAMS[program](page)
        via.define({"species": ATTRIBUTES["species"]})
        names = [*PATHS, *(UNREACHABLE if program == "via2" else [])]
        for name in names:
            via.add_path(name, UNREACHABLE.get(name))
        for name in names:
            via.show(name)
            via.draw(Region("rect", [(10, 20), (50, 60)], {"species": "cat"}))
        if program == "via2":
            via.import_json(IMPORTED, RECT, {"species": "cat"})
        exports.mkdir(parents=True, exist_ok=True)
        via.export(exports)


def main(via_folder: Path, exports: Path) -> None:
    """Draw everything in every program."""
    with tempfile.TemporaryDirectory() as temporary:
        images = Path(temporary)
        write_images(images)
        for program in PROGRAMS:
            draw_files(program, via_folder, images, exports / program)
            if program != "via1":
                draw_paths(program, via_folder, images, exports / f"{program}_paths")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
