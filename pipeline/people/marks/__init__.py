"""Faces that people marked where no detector found one: said in the log, kept as rows of `faces`.

The log of corrections is the truth. A row in `faces` is made from it, and made again whenever it is
missing, for instance because the photo was read again.
"""
