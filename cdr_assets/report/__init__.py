"""The report: one HTML page over some days of the published copy. Knows no Dagster.

What it says is in `figures`, how that is drawn in `plots`, how it is laid out in `page`. Importing it takes a second,
most of it for the plots: whoever may not need it imports it late.
"""

from cdr_assets.report.figures import Figures, read_figures
from cdr_assets.report.page import render, write_report

__all__ = ["Figures", "read_figures", "render", "write_report"]
