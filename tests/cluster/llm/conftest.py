"""The data of language models is prepared as any other, and examples are run as teams run them."""

from tests.cluster.data.conftest import pipelines, prepare_image
from tests.cluster.examples import installed

__all__ = ["installed", "pipelines", "prepare_image"]
