//! Dockerfile to image: plan, cache keys, steps. Blocking; knows no HTTP, no registry, no sandbox.

mod assemble;
mod build;
mod changes;
mod context;
mod draft;
mod environment;
mod error;
mod findings;
mod inline;
mod input;
mod inputs;
mod key;
mod layers;
mod mode;
mod once;
mod ops;
mod options;
mod owner;
mod plan;
pub mod ports;
mod quote;
mod refuse;
mod seen;
mod selection;
mod site;
mod state;
mod verify;
mod walk;
mod workshop;

pub use build::{Builder, Built};
pub use changes::apply_changes;
pub use error::{Error, StepError};
pub use input::{Agent, Input, Secret, Source};
pub use options::Options;
pub use workshop::Workshop;
