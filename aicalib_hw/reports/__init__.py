"""What people read of a record: one self-contained page, for the screen and for paper."""

from aicalib_hw.reports.html import write_report

__all__ = ["write_report"]
