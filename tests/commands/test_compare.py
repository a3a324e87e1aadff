"""The page that compares two runs: rendered from data, by the command, and in a browser if there is one."""

import base64
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from PIL import Image
from projects import REPOSITORY

from viadet.commands.app import main
from viadet.pictures.comparison import COLOURS, render_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "</script><b>bold</b>&\"'"


def compare(clone, *arguments):
    return clone.call(sys.executable, "-m", "viadet", "compare", *arguments)


def curve(name, old="a", new="b", **changes):
    """A plot as in DVC's JSON, with two points of each revision."""
    points = [{"x": x, "y": x * slope, "rev": rev} for slope, rev in ((1, old), (2, new)) for x in (0, 1)]
    axes = {axis: {"field": axis, "type": "quantitative", "title": name} for axis in ("x", "y")}
    spec = {"data": {"values": points}, "title": name, "mark": "line", "encoding": axes | {"color": {"field": "rev"}}}
    return {name: [{"type": "vega", "revisions": [old, new], "content": spec | changes}]}


def test_a_curve_has_the_colour_of_its_revision():
    page, notes = render_page({"old": ("a", ""), "new": ("b", "")}, {}, {}, {"data": curve("Loss")})
    lines = dict(re.findall(r'aria-roledescription="line mark" d="(\S+)"[^>]*? stroke="(\S+)"', page))
    heights = {colour: float(re.split("[ML,]", line)[-1]) for line, colour in lines.items()}  # of the last point
    assert set(heights) == set(COLOURS.values())
    assert heights[COLOURS["new"]] < heights[COLOURS["old"]]  # down the page: the new curve ends above
    assert notes == ["a has no metrics.", "b has no metrics."]


def test_a_curve_that_vega_cannot_draw_is_named():
    plots = {"data": curve("Loss") | curve("Broken", mark={"type": "nosuch"})}
    page, notes = render_page({"old": ("a", ""), "new": ("b", "")}, {}, {}, plots)
    assert notes[-1].startswith("Broken can't be drawn: ")
    assert page.count("<svg") == 1


class Tags(HTMLParser):
    """Collects a page's elements."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))


def test_all_text_on_the_page_is_escaped(tmp_path):
    old, new = f"old {HOSTILE}", f"new {HOSTILE}"
    pictures = []
    for revision, brightness in ((old, 0), (new, 255)):
        path = tmp_path / f"{brightness}.png"
        Image.new("L", (4, 4), brightness).save(path)
        pictures.append({"type": "image", "revisions": [revision], "url": str(path)})
    values = {f"file {HOSTILE}": {f"name {HOSTILE}": {"old": HOSTILE, "new": f"other {HOSTILE}"}}}
    only_old = curve(f"curve {HOSTILE}", old, new)
    only_old[f"curve {HOSTILE}"][0]["revisions"] = [old]
    plots = {
        "data": {f"plots/{HOSTILE}/a {HOSTILE}.png": pictures} | only_old,
        "errors": [{"name": f"plot {HOSTILE}", "rev": old, "msg": f"message {HOSTILE}"}],
    }
    page, _ = render_page({"old": (old, HOSTILE), "new": (new, HOSTILE)}, values, values, plots)
    assert "<b>bold" not in page
    assert page.count("</script>") == 1
    for text in ("old", "file", "name", "other", "curve", "plot", "message"):
        assert re.search(rf"{text} &lt;/script&gt;&lt;b&gt;bold", page), text
    elements = Tags(page).elements
    bold = "b>&\"'.png"  # the last part of the picture's path
    assert [attributes["alt"] for tag, attributes in elements if tag == "img"] == [
        f"{bold} at {old}",
        f"{bold} at {new}",
    ]
    (slider,) = [attributes for _, attributes in elements if attributes.get("type") == "range"]
    assert slider["aria-label"] == f"{bold}: share of the picture taken from {old}"


@pytest.mark.slow
def test_a_revision_from_before_a_plot_says_so(committed):
    for name in ("plots/evaluate/errors.json", "metrics/grad_cam_summary.json"):
        committed.run("git", "rm", "--quiet", "--cached", name)
    tree = committed.run("git", "write-tree").strip()
    committed.run("git", "reset", "--quiet")
    committed.run("git", "branch", "before", committed.run("git", "commit-tree", tree, "-m", "before").strip())
    result = compare(committed, "before", "HEAD", "-o", "before.html")
    assert result.returncode == 0, result.stderr
    assert "Errors can't be read at before" in result.stdout
    text = (committed.folder / "before.html").read_text(encoding="utf-8")
    assert "Errors: not at before" in text
    assert "<td>explained_missed</td>" in text


@pytest.mark.slow
def test_a_revision_without_anything_says_so(committed):
    tree = subprocess.run(["git", "mktree"], cwd=committed.folder, input=b"", capture_output=True, check=True).stdout
    commit = committed.run("git", "commit-tree", tree.decode().strip(), "-m", "empty").strip()
    committed.run("git", "branch", "empty", commit)
    Image.new("L", (4, 4)).save(committed.folder / "plots/grad_cam/methods.png")
    result = compare(committed, "empty", "-o", "empty.html")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[:2] == ["empty has no metrics.", "empty has no curves."]
    assert result.stdout.splitlines()[2].startswith("empty has no pictures")
    assert "empty has no metrics." in (committed.folder / "empty.html").read_text(encoding="utf-8")


def test_an_unknown_revision_ends_in_one_line(committed):
    result = compare(committed, "nosuch")
    assert result.returncode == 1
    assert result.stderr.startswith("compare: unknown Git revision 'nosuch'; `git log")
    assert len(result.stderr.splitlines()) == 1


def test_without_git_there_is_one_line(committed, tmp_path):
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "viadet", tmp_path / "viadet")
    result = compare(committed.at(tmp_path))
    assert result.returncode == 1
    assert (
        result.stderr
        == "compare: this folder is in no Git repository; `git init` and commit, as revisions are compared\n"
    )


def test_a_revision_is_not_compared_with_itself():
    result = CliRunner().invoke(main, ["compare", "HEAD", "HEAD"])
    assert result.exit_code == 1
    assert result.output == "compare: HEAD is compared with itself; name two revisions\n"


def test_a_page_that_would_replace_a_folder_is_a_usage_error(tmp_path):
    result = CliRunner().invoke(main, ["compare", "-o", str(tmp_path)])
    assert result.exit_code == 2
    assert "is a directory" in result.output


def test_a_page_that_can_not_be_written_ends_in_one_line_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["compare", "-o", str(tmp_path / "file/page.html")])
    assert result.exit_code == 1
    assert result.output.startswith(f"compare: {tmp_path / 'file'}")
    assert result.output.count("\n") == 1


@pytest.fixture(scope="module")
def page(sweep, rates):
    """Made in a folder below the root, where it is written all the same."""
    result = compare(sweep.at(sweep.folder / "docs"), *rates)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith(f"{sweep.folder / 'comparison.html'}: ")
    return sweep.folder / "comparison.html"


@pytest.mark.slow
@pytest.mark.xdist_group("chain")
def test_the_page_holds_both_runs_and_asks_for_nothing(page, sweep, rates):
    text = page.read_text(encoding="utf-8")
    assert "../plots" not in text
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", text)
    assert "default-src 'none'" in text
    metrics = json.loads(sweep.run("dvc", "metrics", "diff", "--json", *rates))["metrics/train.json"]["loss"]
    assert f"<td>loss</td><td>{metrics['old']:.6g}</td><td>{metrics['new']:.6g}</td>" in text
    assert "<td>sample.train.lr</td><td>0.002</td><td>0.004</td>" in text
    picture = (sweep.folder / "plots/visualise/images/training_set.png").read_bytes()
    assert text.count(base64.b64encode(picture).decode()) == 1  # the same in both runs
    again = compare(sweep, *rates, "-o", "again.html")
    assert again.stdout.splitlines()[-1].startswith(f"{sweep.folder / 'again.html'}: ")
    assert (sweep.folder / "again.html").read_text(encoding="utf-8") == text


@pytest.fixture(scope="module")
def chromium():
    if not BROWSER:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium): the page is not looked at")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.slow
@pytest.mark.xdist_group("chain")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_a_browser_shows_curves_and_pictures_offline(page, chromium, width, scheme):
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
    tab = context.new_page()
    messages, requests = [], []
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_load_state()

    lines = tab.locator("#curves svg").all()
    assert len(lines) == 7
    marks = [svg.locator(".mark-line path, .mark-rect path").count() for svg in lines]
    assert all(count >= 2 for count in marks), marks  # a line or more of each run
    box = tab.locator("#curves svg .mark-line path").first.bounding_box()
    assert box["width"] > 50
    widths = tab.evaluate("Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))")
    assert len(widths) >= 15
    assert min(widths) > 0

    # the slider uncovers the old picture, side by side shows both whole
    pair = tab.locator(".pair.both").first
    new = pair.locator(".new img")
    pair.locator("input").fill("80")
    assert "80%" in new.evaluate("image => getComputedStyle(image).clipPath")
    tab.locator("#beside").check()
    assert new.evaluate("image => getComputedStyle(image).clipPath") == "none"
    assert not pair.locator("input").is_visible()
    old = pair.locator(".old img").bounding_box()
    assert (new.bounding_box()["x"] > old["x"]) == (width == 1280)  # below it on a phone

    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 384) == (scheme == "light")
    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
