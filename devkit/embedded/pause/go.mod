module modelops.local/devkit/pause

go 1.21
