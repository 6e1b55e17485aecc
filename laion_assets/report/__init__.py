"""A lake on one page: what went in, what came out and why, with pictures to look at."""

from laion_assets.report.page import ReportOptions, write_report

__all__ = ["ReportOptions", "write_report"]
