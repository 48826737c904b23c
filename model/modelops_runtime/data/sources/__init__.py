"""Sources of rows: CSV, Parquet, JSON lines, a database's query, folders of images; local, in an object store or HTTP."""
