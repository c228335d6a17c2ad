"""``mistwatch alerts``: read the events of the topic, and judge them."""

from __future__ import annotations

import typer

from pipeline.cli.alerts import groups, judge, schema, similar, tail

app = typer.Typer(help="Read and judge the alerts of the topic.", no_args_is_help=True)
app.command()(tail.tail)
app.command()(groups.groups)
app.command()(similar.similar)
app.command()(judge.judge)
app.command()(schema.schema)
