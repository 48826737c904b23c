"""Sources of rows: CSV, Parquet, JSON lines, a database's query, images; on disks, in object stores, behind HTTP."""
