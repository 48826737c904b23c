"""The log pipeline: Filebeat, Logstash, Elasticsearch, Kibana."""
