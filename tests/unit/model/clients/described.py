"""Whether our descriptions of the messages are those of Triton's generated code: python described.py."""

import json

from tritonclient.grpc import service_pb2

from modelops_runtime.serving.open_inference.messages import METHODS, POOL, SERVICE


def shown(message):
    fields = [
        [
            field.number,
            field.name,
            field.type,
            field.is_repeated,
            field.message_type and field.message_type.full_name,
            field.containing_oneof and field.containing_oneof.name,
        ]
        for field in message.fields
    ]
    nested = sorted(shown(each) for each in message.nested_types)
    return [message.full_name, message.GetOptions().map_entry, fields, nested]


def method(service, name):
    found = service.methods_by_name[name]
    return [found.full_name, found.input_type.full_name, found.output_type.full_name]


file = POOL.FindFileByName("open_inference_grpc.proto")
ours = {name: shown(message) for name, message in file.message_types_by_name.items()}
theirs = {name: shown(service_pb2.DESCRIPTOR.message_types_by_name[name]) for name in ours}
services = [POOL.FindServiceByName(SERVICE), service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]]
ours["methods"], theirs["methods"] = ([method(service, name) for name in METHODS] for service in services)
print(json.dumps({"ours": ours, "theirs": theirs}))
