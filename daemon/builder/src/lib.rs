//! Dockerfile to image: plan, cache keys, steps.
