//! The verbs: build, list, inspect, tag, remove, prune, save, load.
