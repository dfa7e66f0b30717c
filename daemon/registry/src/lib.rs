//! A client of image registries: resolve, pull, push, log in (OCI distribution spec v1.1, Docker registry HTTP API v2).

pub mod hosts;
