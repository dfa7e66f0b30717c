//! Runs one process in its own namespaces on an overlay of layer trees.
