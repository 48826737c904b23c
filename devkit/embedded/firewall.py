"""Our packet filter rules, and the removal of all rules that the cluster's parts leave behind."""

import re
import shutil

from devkit.embedded import host
from devkit.embedded import layout as at
from devkit.embedded.layout import Layout

# kube-proxy and the kubelet create KUBE- chains, the port mapping plugin CNI- and this module MODELOPS- chains.
OURS = re.compile(r"^(KUBE|CNI|MODELOPS)-")

# Host programs reach the API server at 127.0.0.1, pods at the bridge; it listens on the bridge only. Nothing outside
# this machine may use the host as a way to pods, Services or anything that listens on loopback.
RULES = f"""\
*raw
:MODELOPS-GUARD - [0:0]
-F MODELOPS-GUARD
-A MODELOPS-GUARD -i lo -j RETURN
-A MODELOPS-GUARD -i {at.BRIDGE} -j RETURN
-A MODELOPS-GUARD -d 127.0.0.0/8 -j DROP
-A MODELOPS-GUARD -d {at.POD_CIDR} -j DROP
-A MODELOPS-GUARD -d {at.SERVICE_CIDR} -j DROP
COMMIT
*filter
:MODELOPS-FORWARD - [0:0]
-F MODELOPS-FORWARD
-A MODELOPS-FORWARD -i {at.BRIDGE} -j ACCEPT
-A MODELOPS-FORWARD -o {at.BRIDGE} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:MODELOPS-OUTPUT - [0:0]
:MODELOPS-POSTROUTING - [0:0]
-F MODELOPS-OUTPUT
-F MODELOPS-POSTROUTING
-A MODELOPS-OUTPUT -d {at.LOOPBACK}/32 -p tcp --dport {at.API_PORT} -j DNAT --to-destination {at.BRIDGE_ADDRESS}
-A MODELOPS-POSTROUTING -s {at.POD_CIDR} -d {at.POD_CIDR} -j RETURN
-A MODELOPS-POSTROUTING -s {at.POD_CIDR} -d 224.0.0.0/4 -j RETURN
-A MODELOPS-POSTROUTING -s {at.POD_CIDR} -j MASQUERADE
COMMIT
"""
# The same of IPv6, where the API server and loopback need nothing.
RULES_6 = f"""\
*raw
:MODELOPS-GUARD - [0:0]
-F MODELOPS-GUARD
-A MODELOPS-GUARD -i lo -j RETURN
-A MODELOPS-GUARD -i {at.BRIDGE} -j RETURN
-A MODELOPS-GUARD -d {at.POD_CIDR_6} -j DROP
-A MODELOPS-GUARD -d {at.SERVICE_CIDR_6} -j DROP
COMMIT
*filter
:MODELOPS-FORWARD - [0:0]
-F MODELOPS-FORWARD
-A MODELOPS-FORWARD -i {at.BRIDGE} -j ACCEPT
-A MODELOPS-FORWARD -o {at.BRIDGE} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:MODELOPS-POSTROUTING - [0:0]
-F MODELOPS-POSTROUTING
-A MODELOPS-POSTROUTING -s {at.POD_CIDR_6} -d {at.POD_CIDR_6} -j RETURN
-A MODELOPS-POSTROUTING -s {at.POD_CIDR_6} -d ff00::/8 -j RETURN
-A MODELOPS-POSTROUTING -s {at.POD_CIDR_6} -j MASQUERADE
COMMIT
"""
HOOKS = (
    ("raw", "PREROUTING", "MODELOPS-GUARD"),
    ("filter", "FORWARD", "MODELOPS-FORWARD"),
    ("nat", "OUTPUT", "MODELOPS-OUTPUT"),
    ("nat", "POSTROUTING", "MODELOPS-POSTROUTING"),
)


def ensure_rules(layout: Layout) -> None:
    """Adds our rules; calling it again changes nothing."""
    _ensure("iptables", RULES)
    if layout.dual_stack:
        _ensure("ip6tables", RULES_6)


def _ensure(program: str, rules: str) -> None:
    host.run(f"{program}-restore", "--noflush", "--wait", "5", stdin=rules)
    present = host.run(f"{program}-save").splitlines()
    for table, hook, chain in HOOKS:
        if f":{chain} " in rules and f"-A {hook} -j {chain}" not in _table(present, table):
            host.run(program, "-w", "5", "-t", table, "-I", hook, "-j", chain)


def remove_rules(before: dict[str, object]) -> None:
    """Removes every rule and chain of the cluster; `before` is `host.remembered(...)["packet_filter"]`.

    Chains that were there before the first start stay, and a table that only the cluster created is removed.
    """
    for family, key in (("iptables", "ip"), ("ip6tables", "ip6")):
        if shutil.which(f"{family}-save") is None:
            continue
        tables = before.get(key, {})
        assert isinstance(tables, dict)
        script = removal_script(host.run(f"{family}-save", check=False), tables)
        if script:
            host.run(f"{family}-restore", "--noflush", "--wait", "5", stdin=script)
        for name in set(host.saved_tables(family)) - set(tables):
            _drop_empty_table(family, key, name)


def removal_script(saved: str, before: dict[str, list[str]]) -> str:
    """The iptables-restore input that removes everything of ours from `saved` (from iptables-save)."""
    script: list[str] = []
    for table, lines in _split(saved).items():
        kept = set(before.get(table, ()))
        chains = [line[1:].split()[0] for line in lines if line.startswith(":")]
        doomed = [chain for chain in chains if OURS.match(chain) and chain not in kept]
        if not doomed:
            continue
        rules = [line for line in lines if line.startswith("-A ")]
        leading = [rule for rule in rules if rule.split()[1] not in doomed and _target(rule) in doomed]
        script += [f"*{table}", *("-D" + rule[2:] for rule in leading)]
        script += [f"-F {chain}" for chain in doomed] + [f"-X {chain}" for chain in doomed]
        script.append("COMMIT")
    return "\n".join([*script, ""]) if script else ""


def _drop_empty_table(family: str, key: str, name: str) -> None:
    """Deletes a table that has no rule left (nftables back end; the legacy one keeps its tables)."""
    saved = _split(host.run(f"{family}-save", check=False)).get(name, [])
    if any(line.startswith("-A ") or (line.startswith(":") and " ACCEPT " not in line) for line in saved):
        return
    if shutil.which("nft") and "nf_tables" in host.run(family, "--version"):
        host.run("nft", "delete", "table", key, name, check=False)


def _target(rule: str) -> str:
    match = re.search(r" -[jg] (\S+)", rule)
    return match.group(1) if match else ""


def _split(saved: str) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
            tables[table] = []
        elif line and not line.startswith("#") and line != "COMMIT":
            tables[table].append(line)
    return tables


def _table(lines: list[str], table: str) -> list[str]:
    return _split("\n".join(lines)).get(table, [])
