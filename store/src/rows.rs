//! How the vocabulary is written into rows and read from them.

use jiff::Timestamp;
use mica_oci::{Digest, ImageId, Reference};
use rusqlite::types::{FromSql, Type};
use rusqlite::{Connection, Row};

use crate::error::Error;

/// A digest in a row.
pub(crate) fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    row.get(column).map(Digest::from_raw)
}

/// A digest in a row, or nothing.
pub(crate) fn maybe_digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    Ok(row.get::<_, Option<[u8; 32]>>(column)?.map(Digest::from_raw))
}

/// Something in a row that is written as text.
pub(crate) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?;
    text.as_str()?
        .parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// A time in a row, or nothing.
pub(crate) fn maybe_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    match row.get_ref(column)?.data_type() {
        Type::Null => Ok(None),
        _ => parsed(row, column).map(Some),
    }
}

/// Whether a query has any row.
pub(crate) fn any(db: &Connection, query: &str, digest: &Digest) -> Result<bool, Error> {
    Ok(db.prepare_cached(query)?.exists([digest.as_raw()])?)
}

/// The one value of the first row, if there is a row.
pub(crate) fn first<T: FromSql>(
    db: &Connection,
    query: &str,
    parameters: impl rusqlite::Params,
) -> Result<Option<T>, Error> {
    use rusqlite::OptionalExtension;
    Ok(db
        .prepare_cached(query)?
        .query_row(parameters, |row| row.get(0))
        .optional()?)
}

/// The image a reference leads to. The name is the reference's canonical text.
pub(crate) fn target(db: &Connection, name: &Reference) -> Result<Option<ImageId>, Error> {
    let raw: Option<[u8; 32]> = first(db, "SELECT image FROM refs WHERE name = ?1", [name.to_string()])?;
    Ok(raw.map(|raw| ImageId(Digest::from_raw(raw))))
}

/// A length as SQLite holds it.
pub(crate) fn length(bytes: u64) -> i64 {
    // nothing on a disk is longer
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A length in a row.
pub(crate) fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|n| n.max(0).unsigned_abs())
}
