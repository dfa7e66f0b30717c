//! Layers: tar to tree and back, where hostile input lives.

pub mod changes;
pub mod entry;
pub mod error;
pub mod path;
pub mod sink;
pub mod source;
pub mod view;

pub use changes::{Change, Changes};
pub use entry::{CAPABILITY_XATTR, Kind, LinkKey, Meta, Mtime, Node, Xattrs};
pub use error::Error;
pub use path::ImagePath;
pub use sink::TreeSink;
pub use source::Source;
pub use view::{Content, ContentReader, Finding, LayerView, Name};
