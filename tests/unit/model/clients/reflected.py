"""Asks a server for what it describes of itself, and then by those descriptions: python reflected.py HOST:PORT."""

import json
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

channel = grpc.insecure_channel(sys.argv[1])
database = ProtoReflectionDescriptorDatabase(channel)
pool = DescriptorPool(database)
services = list(database.get_services())
service = pool.FindServiceByName("inference.GRPCInferenceService")
method = service.FindMethodByName("ModelInfer")
request, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
call = channel.unary_unary(
    f"/{service.full_name}/{method.name}",
    request_serializer=request.SerializeToString,
    response_deserializer=answer.FromString,
)
asked = request(model_name="line")
tensor = asked.inputs.add(name="input", datatype="FP32", shape=[2, 1])
tensor.contents.fp32_contents.extend([1, 0])
got = call(asked)
health = health_pb2_grpc.HealthStub(channel)
status = health_pb2.HealthCheckResponse.ServingStatus.Name
names = ["", "inference.GRPCInferenceService"]
try:
    health.Check(health_pb2.HealthCheckRequest(service="other"))
    unknown = "known"
except grpc.RpcError as error:
    unknown = error.code().name
print(
    json.dumps(
        {
            "services": services,
            "described": [pool.FindServiceByName(name).full_name for name in services],
            "methods": [each.name for each in service.methods],
            "outputs": list(got.outputs[0].contents.fp32_contents),
            "health": [status(health.Check(health_pb2.HealthCheckRequest(service=name)).status) for name in names],
            "watched": status(next(health.Watch(health_pb2.HealthCheckRequest(service=names[1]))).status),
            "unknown": unknown,
        }
    )
)
