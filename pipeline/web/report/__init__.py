"""The report: a lake as a folder of pages that open anywhere, without scripts or a server.

from pipeline.web.report.write import write_report

write_report(LakeStore("~/faces")).folder.url
"""
