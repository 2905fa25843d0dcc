"""What is printed: tables of at most 100 columns, and limits that hold or are missed."""

from typing import NamedTuple


class Limit(NamedTuple):
    name: str
    shown: str
    must: str
    holds: bool

    @classmethod
    def at_most(cls, name, value, most, unit=""):
        return cls(name, f"{value:,.2f}{unit}", f"at most {most:g}{unit}", value <= most)

    @classmethod
    def at_least(cls, name, value, least):
        return cls(name, f"{value:,.2f}", f"at least {least:g}", value >= least)

    @classmethod
    def exactly(cls, name, value, wanted):
        return cls(name, f"{value:,}", f"{wanted:,}", value == wanted)


class Table:
    """The first column is text, all others are numbers."""

    def __init__(self, *head):
        self.rows = [head]

    def row(self, *cells):
        self.rows.append(cells)

    def __str__(self):
        widths = [max(map(len, column)) for column in zip(*self.rows)]
        lines = ("  ".join(cell.ljust(width) if at == 0 else cell.rjust(width)
                           for at, (cell, width) in enumerate(zip(row, widths)))
                 for row in self.rows)
        return "\n".join(line.rstrip() for line in lines)


def verdicts(limits):
    table = Table("", "measured", "must be", "")
    for limit in limits:
        table.row(limit.name, limit.shown, limit.must, "holds" if limit.holds else "MISSED")
    return str(table)
