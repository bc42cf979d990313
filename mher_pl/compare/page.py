"""The page of a report: one HTML file with the figure, the tables, the settings and the commands."""

import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from itertools import groupby
from shlex import quote

from mher_pl.compare.runs import Run
from mher_pl.compare.summary import Groups
from mher_pl.compare.tables import Table
from mher_pl.storage.folder import CONFIG
from mher_pl.storage.settings import as_text
from mher_pl.version import __version__

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem }
.wide { overflow-x: auto }
img { display: block; width: max(100%, 36rem); max-width: max-content; height: auto }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums }
th, td { padding: 0.3rem 0 0.3rem 1.2rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child { padding: 0.3rem 0; text-align: left; position: sticky; left: 0; background: #fff }
@media (max-width: 40rem) { table { font-size: 0.75rem } }
pre { background: #f5f5f5; padding: 0.8rem; overflow-x: auto; font-size: 0.85rem }
"""


def make_page(picture: bytes, tables: list[Table], groups: Groups) -> str:
    """Return a page that needs no other file.

    Args:
        picture: the figure of learning curves, as PNG.
        tables: the results.
        groups: the runs that they are of.
    """
    members = [run for runs in groups.values() for run in runs]
    differing = differing_settings(groups)
    curves = (
        f'<div class="wide"><img alt="Learning curves" src="data:image/png;base64,{b64encode(picture).decode()}"></div>'
    )
    commands = "\n".join(f"python -m mher_pl fit --config {quote(str(run.folder / CONFIG))}" for run in members)
    parts = [
        f"<h1>{len(members)} {'run' if len(members) == 1 else 'runs'}</h1>",
        curves,
        "<h2>Results</h2>",
        *map(_as_html, tables),
        *(["<h2>Settings that differ</h2>", *map(_as_html, differing)] if differing else []),
        "<h2>Commands</h2>",
        "<p>Each trains anew with the settings in a run's folder. This repeats the run, unless it was begun from "
        "another run's checkpoint or resumed with other settings.</p>",
        f"<pre>{escape(commands)}</pre>",
        f"<p><small>mher_pl {escape(__version__)}</small></p>",
    ]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Report of {len(members)} runs</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            *parts,
            "</body>\n</html>\n",
        ]
    )


def differing_settings(groups: Groups) -> list[Table]:
    """Return for each task the settings in which its algorithms differ; tasks with the same ones share a table."""
    of_task: dict[str, tuple[tuple[str, ...], list[tuple[str, ...]]]] = {}
    for task, members in groupby(groups.items(), key=lambda item: item[0][0]):
        settings = {algorithm: _settings(runs) for (_, algorithm), runs in members}
        keys = dict.fromkeys(key for own in settings.values() for key in own)
        rows = [(key, *(own.get(key, "–") for own in settings.values())) for key in keys]
        rows = [row for row in rows if len(set(row[1:])) > 1]
        if rows:
            of_task[task] = (("setting", *settings), rows)
    tables: list[Table] = []
    for header, rows in of_task.values():
        title = ", ".join(task for task, other in of_task.items() if other == (header, rows))
        if title not in [table.title for table in tables]:
            tables.append(Table(title, header, rows))
    return tables


def _settings(runs: list[Run]) -> Mapping[str, str]:
    """Return the settings of an algorithm's runs as texts, the seeds apart; several where runs differ.

    Classes of mher_pl are named without their modules, as the command line takes them.
    """
    keys = dict.fromkeys(key for run in runs for key in run.settings if not key.endswith(".seed"))
    texts = {key: [as_text(run.settings[key]) for run in runs if key in run.settings] for key in keys}
    return {
        key: " or ".join(dict.fromkeys(re.sub(r"^mher_pl(\.\w+)*\.(?=\w+$)", "", text) for text in own))
        for key, own in texts.items()
    }


def _as_html(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    return (
        f'<h3>{escape(table.title)}</h3>\n<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )
