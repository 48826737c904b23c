"""docs/how-to/conversations.md, done as it says."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from tests.conftest import REPOSITORY
from tests.unit.components.harness import IMAGE, run

PAGE = (REPOSITORY / "docs" / "how-to" / "conversations.md").read_text()
DECLARED, LOCAL = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_program_declares_a_job_with_its_shards() -> None:
    resources = run(lambda: exec(DECLARED, {"image": SimpleNamespace(ref=IMAGE)}))
    assert resources.one("Job").inputs["spec"]["completions"] == 4


def test_what_is_tried_on_this_machine_ends_as_the_page_says(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", LOCAL], cwd=tmp_path, check=True)
    [command] = re.findall(r"^python (-m modelops_runtime prepare .*)$", PAGE, re.MULTILINE)
    subprocess.run([sys.executable, *shlex.split(command)], cwd=tmp_path, check=True)
    out = tmp_path / "prepared" / "first"
    texts = json.loads((out / "report.json").read_text())["texts"]
    said = dict(re.findall(r"^> `(\w+)`: `(.*)` ?\\?$", PAGE, re.MULTILINE))
    assert said and {name: json.loads(found) for name, found in said.items()} == {
        name: texts["tokens"]["train"] if name == "train" else texts[name] for name in said
    }
    table = pd.read_parquet(out / "train")
    assert list(table.columns) == ["messages", "conversation_id", "tokens"]
    assert "<EMAIL_ADDRESS>" in table["messages"][0][0]["content"]
