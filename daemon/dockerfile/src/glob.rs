//! Wildcard patterns of one path, as Go's `filepath.Match` knows them.
