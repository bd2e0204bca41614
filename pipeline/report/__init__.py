"""The report: a lake as a folder of pages that open anywhere, without scripts or a server."""

from pipeline.report.settings import ReportConfig
from pipeline.report.write import Written, write_report

__all__ = ["ReportConfig", "Written", "write_report"]
