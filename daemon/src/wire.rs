//! Between HTTP and types: queries in, answers and streams out.

pub(crate) mod credential;
pub(crate) mod event;
pub(crate) mod filter;
pub(crate) mod held;
pub(crate) mod platform;
pub(crate) mod query;
pub(crate) mod reply;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod telling;
pub(crate) mod time;
pub(crate) mod trace;
pub(crate) mod transfer;
pub(crate) mod upload;
pub(crate) mod version;
