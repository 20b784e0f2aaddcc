"""The report: one HTML page over some days of the published copy.

`figures` has the numbers, `plots` draws them, `page` lays them out. The formulas of the rates are the marts', and the
Dagster asset is in `orchestration.assets.daily_report`. Importing this package takes a second, mostly for the plots, so
import it inside the function that needs it.
"""

from cdr_assets.report.figures import Figures, read_figures
from cdr_assets.report.page import render, write_report

__all__ = ["Figures", "read_figures", "render", "write_report"]
