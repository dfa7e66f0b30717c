//! The conformance suite: small Dockerfiles with what must become of them, and what it takes to build and look at them.

mod archive;
mod base;
mod case;
mod compare;
mod describe;
mod engine;
mod entry;
mod image;
mod rewrite;
mod served;
mod tar;
mod tree;
mod workshop;

pub use archive::{Format, folder, tar};
pub use base::{archive, shell};
pub use case::{Case, Expected, Send, Source, parse};
pub use compare::differences;
pub use describe::{Facts, describe};
pub use engine::{Engine, Outcome};
pub use entry::{Content, Entry, Kind, hex};
pub use image::Image;
pub use rewrite::rewrite;
pub use tar::files_of;
pub use workshop::Workshop;
