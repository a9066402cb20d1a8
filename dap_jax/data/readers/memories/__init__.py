"""Translation memories and localisation files: TMX, XLIFF, PO and MO.

Start with `units.py`, which streams the units of an XML file; `tmx.py` and `xliff.py` say what is
in them.
"""
