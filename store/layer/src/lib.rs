//! Layers: tar to tree and back, where hostile input lives.

pub mod apply;
pub mod changes;
pub mod compress;
pub mod entry;
pub mod error;
mod handle;
mod overlay;
pub mod path;
pub mod resolve;
pub mod root;
pub mod sink;
pub mod source;
pub mod stack;
pub mod tar;
mod trail;
pub mod tree_view;
pub mod tree_writer;
pub mod view;

pub use apply::{Applied, apply};
pub use changes::{Change, Changes};
pub use compress::{Format, decompress};
pub use entry::{CAPABILITY_XATTR, Kind, LinkKey, Meta, Mtime, Node, Xattrs};
pub use error::Error;
pub use path::ImagePath;
pub use root::Root;
pub use sink::TreeSink;
pub use source::Source;
pub use stack::{Found, Stack, Step};
pub use tar::{TarEntry, TarReader, TarWriter, is_tar};
pub use tree_view::DirView;
pub use tree_writer::TreeWriter;
pub use view::{Content, ContentReader, Finding, LayerView, Name, Segment};
