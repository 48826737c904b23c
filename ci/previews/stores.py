"""Which resources outside of Kubernetes hold data, by the words of their Pulumi type, on any cloud."""

import re

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NOUNS = set(
    "backup blob bucket database datastore dataset db dbinstance dbcluster disk disks elasticsearch filesystem fileset"
    " hypertable image images index kafka keyspace keyvault ledger memorystore mongodb mysql mariadb objectstorage"
    " opensearch pg postgres postgresql queue redis registry repository schema snapshot stream table topic valkey vault"
    " volume cassandra clickhouse dragonfly lake lakehouse namespace".split()
)
"""Last words of kinds that hold data themselves."""
_NO_STORES = {"index": "search", "image": "", "images": "", "namespace": "kv", "schema": "database", "lake": "data"}
"""Nouns that mean data only beside another word, or never."""
_PAIRS = {
    ("file", "system"),
    ("file", "share"),
    ("data", "lake"),
    ("storage", "account"),
    ("storage", "pool"),
    ("blob", "container"),
    ("bucket", "object"),
    ("user", "pool"),
    ("crypto", "key"),
    ("key", "ring"),
    ("database", "account"),
    ("search", "index"),
    ("replication", "group"),
    ("resource", "group"),
    ("kv", "namespace"),
    ("my", "sql"),
    ("open", "search"),
}
"""Last two words of kinds that hold data."""
_SERVICES = set(
    "aiven alloydb astra bigquery bigtable cache clickhouse cockroach confluentcloud cosmosdb couchbase database"
    " databases dax dbformariadb dbformysql dbforpostgresql docdb documentdb dynamodb ec efs elasticache"
    " elasticsearch filestore firestore fsx kafka keyspaces kinesis kusto mariadb memcache memorydb mongocluster"
    " mongodb mongodbatlas msk mssql mysql neon neptune netapp opensearch organizations pinecone planetscale"
    " postgresql qdrant qldb rds redis rediscloud redisenterprise redshift redshiftserverless scylladbcloud search"
    " sfs snowflake spanner sql sqlvirtualmachine supabase synapse timestream timestreamwrite upstash weaviate".split()
)
"""Modules and providers that store data."""
_HEADS = set(
    "account cache cluster collection container deployment domain environment group instance pool project server"
    " service".split()
)
"""What such a service calls the thing that holds the data."""
_KEYS = {"kms", "keyvault"}
_NONE = {"pulumi", "random", "tls", "command", "docker-build", "time", "local", "null"}
_NETWORKS = {
    "aws:iam",
    "aws:autoscaling",
    "aws:ec2",
    "aws:ecs",
    "aws:eks",
    "aws:sns",
    "azure-native:network",
    "azure:network",
}
"""Services whose pools, groups and tables hold no data."""
_NOT_DATA = {
    "attached",
    "backend",
    "log",
    "option",
    "parameter",
    "route",
    "security",
    "subnet",
    "target",
    "certificate",
}
"""What comes before a noun of a thing without data: a route table, a parameter group."""
_NOT_IN_KUBERNETES = {"repository", "registry", "queue", "table", "stream", "namespace"}
"""What other custom resources than stores are called, too: queues of Jobs, repositories of charts."""


def holds_data(type_: str) -> bool:
    """Whether deleting a resource of this Pulumi type loses data. Of Kubernetes, custom resources only."""
    provider, _, rest = type_.partition(":")
    module, _, kind = rest.rpartition(":")
    words = [word.lower() for word in _WORDS.findall(re.sub(r"[vV]\d+$", "", kind))]
    if not words or provider in _NONE or (provider == "kubernetes" and not _is_custom(module, words[-1])):
        return False
    before, last = "" if len(words) < 2 else words[-2], words[-1]
    if (before, last) in _PAIRS:
        return True
    if before in _NOT_DATA or f"{provider}:{module.partition('/')[0]}" in _NETWORKS:
        return (last in ("volume", "snapshot")) and before not in _NOT_DATA
    if last in _NOUNS:
        needs = _NO_STORES.get(last)
        return needs is None or (needs != "" and needs in words)
    places = {provider, *(part.lower() for part in re.split(r"[/:.]", module))}
    if last == "key":
        return bool(places & _KEYS)
    if last in ("share", "container", "account"):
        return any("storage" in word or word in _SERVICES for word in places)
    return last in _HEADS and bool({*places, before} & _SERVICES or before == "db")


def _is_custom(module: str, noun: str) -> bool:
    group = module.partition("/")[0]
    return "." in group and not group.startswith("helm.") and noun not in _NOT_IN_KUBERNETES
