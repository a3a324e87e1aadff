"""What users compare runs by: a sweep, DVC's tables and plots, remotes, and the page, in a browser if there is one."""

import base64
import json
import re
import shutil
import subprocess
import sys

import pytest
from projects import REPOSITORY, Clone, small_changes
from ruamel.yaml import YAML

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
IDENTITY = (("user.name", "T"), ("user.email", "t@example.org"))
RATES = {"sweep-1": 0.001, "sweep-2": 0.004}
HOSTILE = "</script><b>bold</b>&\"'"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A clone with the small sample committed and two more learning rates tried from a queue."""
    clone = Clone(tmp_path_factory.mktemp("sweep"))
    for key, value in IDENTITY:
        clone.run("git", "config", key, value)
    clone.run("dvc", "remote", "add", "-d", "store", "../../store")  # seen from .dvc/config
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "-m", "remote")
    clone.run("dvc", "exp", "run", "-S", "recipe=sample", *small_changes())
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "-m", f"Small sample {HOSTILE}")
    rates = ",".join(str(rate) for rate in RATES.values())
    clone.run("dvc", "exp", "run", "--queue", "-n", "sweep", "-S", f"sample.train.lr={rates}")
    clone.run("dvc", "exp", "run", "--run-all", "-j", "1")
    return clone


@pytest.fixture(scope="module")
def colleague(sweep):
    """A second clone beside the first: what git carries, and no cache."""
    sweep.run("dvc", "push")
    folder = sweep.folder.parent / "colleague"
    sweep.run("git", "clone", "--quiet", str(sweep.folder), str(folder))
    return sweep.at(folder)


def test_a_sweep_is_a_table_sorted_by_its_best(sweep):
    table = json.loads(sweep.run("dvc", "exp", "show", "--json"))
    head = next(entry for entry in table if entry["rev"] != "workspace")
    tried = {entry["name"]: entry["revs"][0]["data"] for entry in head["experiments"]}
    assert {n: data["params"]["params.yaml"]["data"]["sample"]["train"]["lr"] for n, data in tried.items()} == RATES
    maps = {name: data["metrics"]["metrics/evaluate.json"]["data"]["bbox_mAP"] for name, data in tried.items()}
    losses = {name: data["metrics"]["metrics/train.json"]["data"]["loss"] for name, data in tried.items()}
    assert set(maps) == set(RATES)
    assert len(set(losses.values())) == 2

    rows = sweep.run("dvc", "exp", "show", "--csv", "--only-changed", "--sort-by", "loss").splitlines()
    names = [name for row in rows for name in RATES if name in row]
    assert names == sorted(losses, key=losses.get)
    assert "train_images" not in rows[0]  # the same in all runs
    assert "sample.train.lr" in rows[0]


def test_the_table_of_the_readme_fits_a_screen(sweep):
    readme = (sweep.folder / "README.md").read_text()
    command = re.search(r"^dvc exp show --only-changed .*$", readme, re.M)[0]
    sweep.environment["COLUMNS"] = "400"  # so that nothing is cut
    lines = sweep.run("bash", "-c", command).splitlines()
    assert max(len(line.strip()) for line in lines) <= 150
    assert any("bbox_mAP" in line and "sample.train.lr" in line for line in lines)


def test_metrics_and_params_of_two_runs_differ_in_flat_rounded_rows(sweep):
    metrics = json.loads(sweep.run("dvc", "metrics", "diff", "--all", "--json", *RATES))
    assert set(metrics) == {f"metrics/{name}.json" for name in ("dataset", "evaluate", "grad_cam_summary", "train")}
    for entries in metrics.values():
        assert not any("." in name for name in entries)
    for entry in metrics["metrics/evaluate.json"].values():
        assert entry["old"] == round(entry["old"], 3)
    changed = json.loads(sweep.run("dvc", "metrics", "diff", "--json", *RATES))
    assert "metrics/dataset.json" not in changed
    params = json.loads(sweep.run("dvc", "params", "diff", "--json", *RATES))
    assert params == {"params.yaml": {"sample.train.lr": {"old": 0.001, "new": 0.004, "diff": 0.003}}}


def test_each_curve_overlays_and_each_picture_has_its_counterpart(sweep):
    plots = json.loads(sweep.run("dvc", "plots", "diff", "--json", "-o", "plots_of_both", *RATES))
    assert "errors" not in plots
    curves = {name: entries for name, entries in plots["data"].items() if not name.startswith("plots/")}
    assert list(curves) == [
        "Box sizes",
        "Training loss",
        "Learning rate",
        "AP by epoch",
        "Precision and recall",
        "AP by IoU",
        "Errors",
        "Deletion",
        "Insertion",
        "Random weights",
    ]
    without_rows = {"Deletion", "Insertion", "Random weights"}  # as these detectors detect nothing
    for name in curves.keys() - without_rows:
        (entry,) = curves[name]  # one plot for both, so they overlay
        assert set(entry["revisions"]) == set(RATES), name
        values = entry["content"]["data"]["values"]
        fields = {rev: {frozenset(row) for row in values if row["rev"] == rev} for rev in RATES}
        assert fields["sweep-1"] == fields["sweep-2"], name
    pictures = {name: entries for name, entries in plots["data"].items() if name.startswith("plots/")}
    assert all(entry["type"] == "image" for entries in pictures.values() for entry in entries)
    assert all([e["revisions"] for e in entries] == [[rev] for rev in RATES] for entries in pictures.values())
    folders = {name.rsplit("/", 1)[0] for name in pictures}
    stages = ("visualise/images", "evaluate/images", "feature_maps", "grad_cam", "grad_cam/images")
    assert folders == {f"plots/{folder}" for folder in stages}


def test_a_colleague_gets_model_and_pictures_without_training(colleague, sweep):
    assert not (colleague.folder / "data/model").exists()
    colleague.run("dvc", "pull")
    for name in ("data/model/model.safetensors", "plots/grad_cam/images/val_0000.jpg", "data/detections.json"):
        assert (colleague.folder / name).read_bytes() == (sweep.folder / name).read_bytes()
    assert "Data and pipelines are up to date" in colleague.run("dvc", "repro", "--dry")


def test_an_experiment_travels_between_two_clones(colleague, sweep):
    hub = sweep.folder.parent / "hub.git"
    sweep.run("git", "init", "--quiet", "--bare", str(hub))
    sweep.run("git", "remote", "add", "hub", str(hub))
    sweep.run("git", "push", "--quiet", "hub", "HEAD:refs/heads/main")
    sweep.run("dvc", "exp", "push", "hub", "sweep-2")
    colleague.run("git", "remote", "add", "hub", str(hub))
    assert "sweep-2" in colleague.run("dvc", "exp", "list", "--all-commits", "hub")
    colleague.run("dvc", "exp", "pull", "hub", "sweep-2")
    colleague.run("dvc", "exp", "apply", "sweep-2")
    assert "lr: 0.004" in (colleague.folder / "params.yaml").read_text()
    assert (colleague.folder / "data/model/model.safetensors").is_file()
    assert "Data and pipelines are up to date" in colleague.run("dvc", "repro", "--dry")
    colleague.run("dvc", "exp", "branch", "sweep-2", "best")
    assert "best" in colleague.run("git", "branch", "--list", "best")


def test_the_workflow_reports_what_a_pull_request_changes(sweep):
    workflow = YAML(typ="safe").load((REPOSITORY / ".github/workflows/ci.yml").read_text())
    steps = workflow["jobs"]["report"]["steps"]
    (script,) = [step["run"] for step in steps if step.get("name") == "Report"]
    sweep.environment |= {"BASE": "sweep-1", "HEAD": "sweep-2", "GITHUB_STEP_SUMMARY": "summary.md"}
    sweep.run("bash", "-euo", "pipefail", "-c", script)
    report = (sweep.folder / "report.md").read_text()
    assert re.search(r"\| metrics/train.json +\| loss +\| [\d.]+ +\| [\d.]+ +\| -?[\d.]+ +\|", report)
    assert re.search(r"\| params.yaml +\| sample.train.lr +\| 0.00[14] +\| 0.00[14] +\|", report)
    assert (sweep.folder / "summary.md").read_text() == report


def compare(clone, *arguments):
    return clone.call(sys.executable, "-m", "stages.compare", *arguments)


@pytest.fixture(scope="module")
def page(sweep):
    result = compare(sweep, *RATES)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("comparison.html: ")
    return sweep.folder / "comparison.html"


def test_the_page_holds_both_runs_and_asks_for_nothing(page, sweep):
    text = page.read_text()
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", text)
    assert "default-src 'none'" in text
    metrics = json.loads(sweep.run("dvc", "metrics", "diff", "--json", *RATES))["metrics/train.json"]["loss"]
    assert f"<td>loss</td><td>{metrics['old']:.6g}</td><td>{metrics['new']:.6g}</td>" in text
    assert "<td>sample.train.lr</td><td>0.001</td><td>0.004</td>" in text
    picture = (sweep.folder / "plots/visualise/images/training_set.png").read_bytes()
    assert base64.b64encode(picture).decode() in text  # both runs have it, once
    assert text.count(base64.b64encode(picture).decode()) == 1
    assert compare(sweep, *RATES, "-o", "again.html").returncode == 0
    assert (sweep.folder / "again.html").read_text() == text


def test_all_text_on_the_page_is_escaped(sweep):
    params = sweep.folder / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("categories: [balloon]", f"categories: [{json.dumps(HOSTILE)}]"))
    result = compare(sweep, "-o", "hostile.html")
    params.write_text(before)
    assert result.returncode == 0, result.stderr
    text = (sweep.folder / "hostile.html").read_text()
    assert "&lt;/script&gt;&lt;b&gt;bold" in text
    assert "<b>bold" not in text
    assert text.count("</script>") == 1


@pytest.fixture(scope="module")
def chromium():
    if not BROWSER:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium): the page is not looked at")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_a_browser_shows_curves_and_pictures_offline(page, chromium, width, scheme):
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
    tab = context.new_page()
    complaints, requests = [], []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
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
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]


def test_a_revision_from_before_a_plot_says_so(sweep):
    for name in ("plots/evaluate/errors.json", "metrics/grad_cam_summary.json"):
        sweep.run("git", "rm", "--quiet", "--cached", name)
    tree = sweep.run("git", "write-tree").strip()
    sweep.run("git", "reset", "--quiet")
    sweep.run("git", "branch", "--force", "before", sweep.run("git", "commit-tree", tree, "-m", "before").strip())
    result = compare(sweep, "before", "HEAD", "-o", "before.html")
    assert result.returncode == 0, result.stderr
    assert "Errors can't be read at before" in result.stdout
    text = (sweep.folder / "before.html").read_text()
    assert "Errors: not at before" in text
    assert "<td>explained_missed</td>" in text


def test_a_revision_without_anything_says_so(sweep):
    tree = subprocess.run(["git", "mktree"], cwd=sweep.folder, input=b"", capture_output=True, check=True).stdout
    commit = sweep.run("git", "commit-tree", tree.decode().strip(), "-m", "empty").strip()
    sweep.run("git", "branch", "--force", "empty", commit)
    result = compare(sweep, "empty", "HEAD", "-o", "empty.html")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[:2] == ["empty has no metrics.", "empty has no curves."]
    assert result.stdout.splitlines()[2].startswith("empty has no pictures")
    assert "empty has no metrics." in (sweep.folder / "empty.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nosuch",), "compare: unknown Git revision 'nosuch'; `git log"),
        (("HEAD", "HEAD"), "compare: HEAD is compared with itself; name two revisions"),
    ],
)
def test_bad_revisions_end_in_one_line(sweep, arguments, expected):
    result = compare(sweep, *arguments)
    assert result.returncode == 1
    assert result.stderr.startswith(expected)
    assert len(result.stderr.splitlines()) == 1


def test_without_git_there_is_one_line(sweep, tmp_path):
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(sweep.folder / name, tmp_path)
    shutil.copytree(sweep.folder / "stages", tmp_path / "stages")
    result = compare(sweep.at(tmp_path))
    assert result.returncode == 1
    assert (
        result.stderr
        == "compare: this folder is in no git repository; `git init` and commit, as revisions are compared\n"
    )
