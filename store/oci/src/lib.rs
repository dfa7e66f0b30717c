//! The vocabulary of images: digests, references, platforms, manifests, configs; no I/O.
