"""What a benchmark prints and writes: JSON with everything, and Markdown tables that can be pasted."""

import json
from pathlib import Path
from typing import Any

from machine import load_average, machine


class Report:
    """Results of one run, the machine named, as `path` (JSON) and, where there are tables, as Markdown beside it."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self.values: dict[str, Any] = {"machine": machine()} | settings
        self.parts: list[str] = []  # captions and tables
        print(self.machine_line(), flush=True)

    def table(self, caption: str, first_column: str, rows: dict[str, dict[str, Any]]) -> None:
        """Print a table and keep it."""
        self.parts.append(f"{caption}\n\n{table(first_column, rows)}")
        print(f"\n{self.parts[-1]}", flush=True)

    def write(self) -> None:
        """Write the files, with the load average at the end."""
        self.values["machine"]["load_average_at_end"] = load_average()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.values, indent=2) + "\n")
        if self.parts:
            self.path.with_suffix(".md").write_text("\n\n".join([self.machine_line(), *self.parts]) + "\n")
        print(f"\nwritten to {self.path}{' and .md' if self.parts else ''}")

    def machine_line(self) -> str:
        """Return the machine in one line."""
        values = self.values["machine"]
        times = [when for when in ("start", "end") if f"load_average_at_{when}" in values]
        loads = [f"{values[f'load_average_at_{when}']} at the {when}" for when in times]
        versions = ", ".join(f"{package} {version}" for package, version in values["versions"].items())
        return (
            f"{values['processor']}, {values['cores']} cores, {values['gpu'] or 'no GPU'}; {versions}; "
            f"load average {', '.join(loads)}."
        )


def replace_between(page: Path, begin: str, end: str, text: str) -> None:
    """Put a text between the marks of a page, which stay."""
    before, rest = page.read_text().split(begin)
    page.write_text(before + begin + text + end + rest.split(end)[1])


def table(first_column: str, rows: dict[str, dict[str, Any]]) -> str:
    """Lay rows out as a Markdown table, their names in the first column."""
    columns = [first_column, *next(iter(rows.values()))]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join([name, *map(cell, row.values())]) + " |" for name, row in rows.items()]
    return "\n".join(lines)


def cell(value: Any) -> str:
    """Write a value with three digits at least, and nothing as a dash."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
