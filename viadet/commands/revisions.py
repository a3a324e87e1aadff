"""Which outputs that git has at a revision are of another run, as an unfinished run leaves those of the commit."""

from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo

PIPELINE_PATH = "dvc.yaml"


def outdated_outputs(revisions: Collection[str], only: Collection[str] | None = None) -> dict[str, set[str]]:
    """Find the outputs whose stages DVC would run again at a revision, as they have not run with its params and code.

    Of data that are not in git, the hashes in dvc.lock are compared.

    Args:
        revisions: as git or DVC names them, or `workspace`.
        only: paths of outputs that are asked for; None: all.

    Returns:
        By revision, paths of outputs, and with them the titles of the plots in dvc.yaml that show one.
    """
    from dvc.repo import Repo

    outdated = {}
    with Repo() as repo:
        for revision in revisions:
            with repo.switch(revision):
                outdated[revision] = _outdated_outputs(repo, only)
    return outdated


def _outdated_outputs(repo: "Repo", only: Collection[str] | None) -> set[str]:
    from dvc.exceptions import DvcException

    from viadet.project.params import load_yaml

    try:
        stages = repo.stage.load_all(PIPELINE_PATH)
    except DvcException:  # a revision without a pipeline, or with one that DVC can't read: nothing is known
        return set()
    makers = {out.def_path: (stage, out) for stage in stages for out in stage.outs}

    @cache
    def is_outdated(name: str) -> bool:
        (stage,) = (stage for stage in stages if stage.name == name)
        for dependency in stage.deps:
            path = dependency.def_path
            maker, out = next((makers[made] for made in makers if f"{path}/".startswith(f"{made}/")), (None, None))
            if maker is None:
                changed = any(state != "deleted" for state in dependency.status().values())  # deleted: not in git
            else:
                changed = is_outdated(maker.name) or (out.def_path == path and out.hash_info != dependency.hash_info)
            if changed:
                return True
        return stage.cmd_changed

    wanted = makers if only is None else makers.keys() & only
    outdated = {path for path in wanted if is_outdated(makers[path][0].name)}
    with repo.fs.open(repo.fs.join(repo.root_dir, PIPELINE_PATH), encoding="utf-8") as file:
        entries = load_yaml(file.read()).get("plots", [])
    plots = [plot for entry in entries if isinstance(entry, dict) for plot in entry.items()]
    return outdated | {title for title, options in plots if not outdated.isdisjoint((options or {}).get("y") or ())}
