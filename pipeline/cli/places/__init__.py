"""``mistwatch places``: the place maps of a site's cameras."""

from __future__ import annotations

import typer

from pipeline.cli.places import learn, show

app = typer.Typer(help="Make and show place maps: the classes of a camera's standing scene.", no_args_is_help=True)
app.command()(learn.learn)
app.command()(show.show)
