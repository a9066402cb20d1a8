"""Tables in users' formats -> rows: tab-separated, CSV, JSON lines, Parquet, Excel, the hub's sets.

May import `data.readers.row`, `data.readers.arguments`, `data.texts` and `utils`. Start with
`columns.py`, which says what columns are read; each format has a file.
"""
