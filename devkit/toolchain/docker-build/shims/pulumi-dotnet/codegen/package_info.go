// Package codegen stands in for a module that no package registry serves. The docker-build provider only fills
// this struct into the schema that it prints for SDK generators; nothing reads it when resources are deployed.
package codegen

// CSharpPackageInfo describes the .NET SDK of a provider.
type CSharpPackageInfo struct {
	RespectSchemaVersion bool              `json:"respectSchemaVersion,omitempty"`
	PackageReferences    map[string]string `json:"packageReferences,omitempty"`
}
