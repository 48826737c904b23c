// Package java stands in for a module that no package registry serves. The docker-build provider only fills
// this struct into the schema that it prints for SDK generators; nothing reads it when resources are deployed.
package java

// PackageInfo describes the Java SDK of a provider.
type PackageInfo struct {
	BuildFiles                      string            `json:"buildFiles,omitempty"`
	GradleNexusPublishPluginVersion string            `json:"gradleNexusPublishPluginVersion,omitempty"`
	Dependencies                    map[string]string `json:"dependencies,omitempty"`
}
