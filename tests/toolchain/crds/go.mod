// Custom resource definitions, taken from the sources of the modules that define them. Nothing here is built.
module modelops.local/devkit/crds

go 1.26.8

require (
	github.com/kedacore/keda/v2 v2.21.0
	github.com/kubeflow/trainer/v2 v2.0.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.6.3
	sigs.k8s.io/kueue v0.17.0
	sigs.k8s.io/lws v0.7.0
)
