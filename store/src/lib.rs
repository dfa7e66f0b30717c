//! Everything on disk and what may be deleted.
