//go:build tools

// Package tools names the clients of BuildKit that the tests drive; go.mod says which versions of them.
package tools

import (
	_ "github.com/docker/buildx/cmd/buildx"
	_ "github.com/moby/buildkit/cmd/buildctl"
)
