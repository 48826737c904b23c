"""The result of a database's query."""

import os
from collections.abc import Iterator

import pandas as pd

from modelops_runtime.contract.data import SQL_PASSWORD
from modelops_runtime.data import errors


def read(uri: str, query: str, rows: int) -> Iterator[pd.DataFrame]:
    import sqlalchemy

    url = sqlalchemy.make_url(uri)
    if password := os.environ.get(SQL_PASSWORD):
        url = url.set(password=password)
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            yield from pd.read_sql_query(sqlalchemy.text(query), connection, chunksize=rows)
    except sqlalchemy.exc.SQLAlchemyError as error:
        # Its own text has the statement and values.
        raise errors.unreadable(without_password(uri), type(error).__name__) from None
    finally:
        engine.dispose()


def without_password(uri: str) -> str:
    import sqlalchemy

    return sqlalchemy.make_url(uri).render_as_string(hide_password=True)
