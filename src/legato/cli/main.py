"""`legato`: the list of subcommands, and the one place where errors become a line and a status."""

from __future__ import annotations

import sys

import typer

from legato.cli import bench, calibrate, chat, demo, inspect, key, plan, pull, run, serve, solve
from legato.cli.arguments import repeat_option
from legato.errors import LegatoError

app = typer.Typer(
    name="legato",
    help="An LLM inference engine and server that plays every token on time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("chat")(chat.chat)
app.command("solve")(solve.solve)
app.command("serve")(serve.serve)
app.command("key")(key.key)
app.command("pull")(pull.pull)
app.command("inspect")(inspect.inspect)
app.command("demo")(demo.demo)
app.command("calibrate")(calibrate.calibrate)
app.add_typer(bench.app, name="bench")
app.add_typer(plan.app, name="plan")


def main() -> None:
    """Run the command line. A LegatoError is one line on stderr and exit status 1."""
    try:
        app(args=repeat_option(sys.argv[1:], "--concurrency"))
    except LegatoError as error:
        print(f"legato: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone: nobody is left to tell
        sys.exit(1)
