//! End-to-end tests and benchmarks of mica: the harness they share.
