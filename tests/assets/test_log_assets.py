"""The log pipeline's files, checked as far as their formats have a parser of their own."""

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import toolchain
from tests.assets.test_assets import LIBRARY

ASSETS = LIBRARY / "monitoring" / "logs" / "assets"
TEMPLATE = json.loads((ASSETS / "elasticsearch-setup" / "index-template.json").read_text())
OBJECTS = [json.loads(line) for line in (ASSETS / "kibana" / "objects.ndjson").read_text().splitlines()]
BY_ID = {(found["type"], found["id"]): found for found in OBJECTS}
NOT_OF_A_LINE = {"_id", "_index"}


def mapped(properties: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Every field of a mapping with its type."""
    found: dict[str, str] = {}
    for name, field in properties.items():
        if "properties" in field:
            found |= mapped(field["properties"], f"{prefix}{name}.")
        else:
            found[prefix + name] = field["type"]
    return found


FIELDS = mapped(TEMPLATE["template"]["mappings"]["properties"])


LISTENING = """
import java.net.*;
import java.nio.channels.ServerSocketChannel;

public class Listening {
    public static void main(String[] words) throws Exception {
        ServerSocketChannel channel = ServerSocketChannel.open();
        channel.bind(new InetSocketAddress(InetAddress.getByName(words[0]), 0));
        ServerSocket plain = new ServerSocket(0, 1, InetAddress.getByName(words[0]));
        int[] ports = {((InetSocketAddress) channel.getLocalAddress()).getPort(), plain.getLocalPort()};
        for (int port : ports)
            for (String host : new String[] {"127.0.0.1", "::1"})
                new Socket(InetAddress.getByName(host), port).close();
        System.out.println("both");
    }
}
"""


@pytest.mark.skipif(not (shutil.which("java") and socket.has_dualstack_ipv6()), reason="needs Java and IPv6")
@pytest.mark.parametrize(
    ("file", "setting"),
    [("elasticsearch/elasticsearch.yml", "network.host"), ("logstash/logstash.yml", "api.http.host")],
)
def test_java_listens_to_ipv6_too_at_the_address_that_it_is_given(tmp_path: Path, file: str, setting: str) -> None:
    """Elasticsearch binds a channel, as Logstash's Ruby does; JRuby's HTTP server may bind a plain socket."""
    address = yaml.safe_load((ASSETS / file).read_text())[setting]
    (tmp_path / "Listening.java").write_text(LISTENING)
    command = ["java", str(tmp_path / "Listening.java"), address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "both\n", done.stderr


@pytest.fixture(scope="session")
def grammar() -> Path:
    """A parser of Logstash's configuration language."""
    return toolchain.build("logstash-config") / "mustache"


def test_logstash_s_pipeline_is_of_its_language(grammar: Path) -> None:
    done = subprocess.run([grammar, "check", ASSETS / "logstash" / "modelops.conf"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_broken_pipeline_would_be_seen(grammar: Path, tmp_path: Path) -> None:
    text = (ASSETS / "logstash" / "modelops.conf").read_text()
    (tmp_path / "broken.conf").write_text(text.replace("port => 5044", "port => "))
    assert subprocess.run([grammar, "check", tmp_path / "broken.conf"], capture_output=True).returncode != 0


def test_both_ways_name_the_streams_alike() -> None:
    logstash = (ASSETS / "logstash" / "modelops.conf").read_text()
    beats = yaml.safe_load((ASSETS / "filebeat" / "output-elasticsearch.yml").read_text())
    own = re.search(r'index => "([^"]+)"', logstash)
    assert own is not None
    fields = re.compile(r"%\{(.*)\}")
    assert fields.sub("", own[1]) == fields.sub("", beats["output.elasticsearch"]["index"]) == "modelops-logs-"
    found = fields.search(own[1])
    assert found is not None
    assert "%{" + found[1].replace("][", ".") + "}" == fields.search(beats["output.elasticsearch"]["index"])[0]  # type: ignore[index]
    assert TEMPLATE["index_patterns"] == ["modelops-logs-*"]


def test_streams_have_the_lifecycle_and_the_pipeline_that_the_setup_puts() -> None:
    script = (ASSETS / "elasticsearch-setup" / "setup.sh").read_text()
    settings = TEMPLATE["template"]["settings"]
    assert f"put /_ilm/policy/{settings['index.lifecycle.name']} lifecycle.json" in script
    assert f"put /_ingest/pipeline/{settings['index.default_pipeline']} pipeline.json" in script
    # The template names both, so they come first.
    assert script.index("/_index_template/") > max(script.index("/_ilm/"), script.index("/_ingest/"))


def test_nothing_of_a_line_can_clash_with_the_mapping() -> None:
    """Fields that are not known are not mapped, and the pipeline gives the known ones their types."""
    assert TEMPLATE["template"]["mappings"]["dynamic"] is False
    pipeline = json.loads((ASSETS / "elasticsearch-setup" / "pipeline.json").read_text())
    taken = next(
        step["script"]["params"]
        for step in pipeline["processors"]
        if "texts" in step.get("script", {}).get("params", {})
    )
    texts = {name for name, kind in FIELDS.items() if name.startswith("modelops.") and kind == "keyword"}
    assert {f"modelops.{name}" for name in taken["texts"]} == texts
    numbers = {name for name, kind in FIELDS.items() if name.startswith("modelops.") and kind != "keyword"}
    assert {f"modelops.{name}" for name in taken["numbers"]} == numbers


@pytest.mark.parametrize("found", OBJECTS, ids=lambda found: f"{found['type']} {found['id']}")
def test_kibana_s_objects_refer_to_what_there_is(found: dict[str, Any]) -> None:
    for reference in found["references"]:
        assert (reference["type"], reference["id"]) in BY_ID
    names = {reference["name"] for reference in found["references"]}
    source = found["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON")
    if source and "indexRefName" in json.loads(source):
        assert json.loads(source)["indexRefName"] in names
    if found["type"] == "dashboard":
        shown = json.loads(found["attributes"]["panelsJSON"])
        assert {f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in shown} == names
        assert all(panel["gridData"]["x"] + panel["gridData"]["w"] <= 48 for panel in shown)


@pytest.mark.parametrize("found", OBJECTS, ids=lambda found: f"{found['type']} {found['id']}")
def test_kibana_s_objects_use_fields_that_are_mapped(found: dict[str, Any]) -> None:
    attributes = found["attributes"]
    used = set(attributes.get("columns", []))
    if "visState" in attributes:
        state = json.loads(attributes["visState"])
        assert state["title"] == attributes["title"]
        for aggregation in state["aggs"]:
            if "field" in aggregation["params"]:
                used.add(aggregation["params"]["field"])
                if aggregation["type"] == "terms":
                    assert FIELDS[aggregation["params"]["field"]] != "text", "words can't be counted"
    if source := attributes.get("kibanaSavedObjectMeta", {}).get("searchSourceJSON"):
        used |= set(re.findall(r"([a-z_.]+)\s*(?::|>=|<=)", json.loads(source)["query"]["query"]))
    assert used <= FIELDS.keys()


def test_the_data_view_covers_every_stream() -> None:
    view = BY_ID[("index-pattern", "modelops-logs")]["attributes"]
    assert [view["title"]] == TEMPLATE["index_patterns"]
    assert FIELDS[view["timeFieldName"]] == "date"
