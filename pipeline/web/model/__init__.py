"""The page of a trained model: one file that opens anywhere, without scripts or a server.

from pipeline.web.model.page import page_of

finish(..., Extra(page=page_of(lake)))
"""
