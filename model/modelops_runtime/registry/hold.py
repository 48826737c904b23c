"""The holding container, `modelops-hold`: beside a server, it keeps the cache from giving up the model that is served.

The server itself need not know of the cache, which it only reads. Contract: docs/model.md.
"""

import time

from modelops_runtime.contract import Environment, HoldContract
from modelops_runtime.registry.cache import RENEW_SECONDS, Cache


def main() -> None:
    env = Environment()
    settings = HoldContract.read(env)
    env.check()
    cache = Cache(settings.cache_dir)
    try:
        while True:
            try:
                cache.renew()
            except OSError as error:  # the volume may come back before the notes are too old
                print(f"the cache can't be written: {error}", flush=True)
            time.sleep(RENEW_SECONDS)
    finally:  # SIGTERM ends the program by an exception
        cache.leave()
