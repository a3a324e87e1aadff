"""The command `viadet`: all its commands, and how they fail."""

import click

from viadet.commands.compare import compare
from viadet.commands.experiments import experiments
from viadet.commands.export import export
from viadet.commands.predict import predict
from viadet.commands.repeat import repeat
from viadet.commands.review import review
from viadet.project.errors import escape_unprintable, one_line_errors


@click.group()
@click.pass_context
def main(context: click.Context) -> None:
    """Work with the runs of this project's DVC pipeline, and use trained detectors outside of it."""
    escape_unprintable()
    # A resource of the group's context: the errors of every command pass through it before click handles them.
    context.with_resource(one_line_errors(context.invoked_subcommand, "run the same command again"))


for command in (compare, experiments, export, predict, repeat, review):
    main.add_command(command)
