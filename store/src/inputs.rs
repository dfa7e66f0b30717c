//! What the inputs of earlier steps were, so that a step which is done again can say what changed.

use jiff::Timestamp;
use mica_oci::{CacheKey, Digest};
use rusqlite::Connection;

use crate::database::Durability;
use crate::error::Error;
use crate::store::Store;

/// How many steps are remembered that are written the same way.
const STEPS_ALIKE: i64 = 8;

/// How many steps are remembered in all.
const STEPS: i64 = 20_000;

/// The longest inputs that are remembered, in bytes.
const LONGEST: usize = 256 << 10;

/// Forgets the oldest steps where there are too many.
pub(crate) fn drop_old(db: &Connection) -> Result<(), Error> {
    db.execute(
        "DELETE FROM step_inputs WHERE made < (SELECT made FROM step_inputs ORDER BY made DESC LIMIT 1 OFFSET ?1)",
        [STEPS],
    )?;
    Ok(())
}

impl Store {
    /// Remembers the inputs of the step with this key; `alike` is the same for all steps that are written the same way.
    /// Those that are very long are not remembered. May be forgotten in a crash, and is by and by.
    pub fn remember_inputs(&self, alike: &Digest, key: &CacheKey, inputs: &[u8]) -> Result<(), Error> {
        if inputs.len() > LONGEST {
            return Ok(());
        }
        self.inner.database.write(Durability::Normal, |db| {
            db.prepare_cached(
                "INSERT OR REPLACE INTO step_inputs (alike, key, inputs, made) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute((
                alike.as_raw(),
                key.digest().as_raw(),
                inputs,
                Timestamp::now().as_microsecond(),
            ))?;
            db.prepare_cached(
                "DELETE FROM step_inputs WHERE alike = ?1 AND made <
                     (SELECT made FROM step_inputs WHERE alike = ?1 ORDER BY made DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute((alike.as_raw(), STEPS_ALIKE - 1))?;
            Ok(())
        })
    }

    /// The inputs of the last steps that were written this way, the newest first, each with its key.
    pub fn inputs_alike(&self, alike: &Digest) -> Result<Vec<(CacheKey, Vec<u8>)>, Error> {
        self.inner.database.read(|db| {
            let mut query =
                db.prepare_cached("SELECT key, inputs FROM step_inputs WHERE alike = ?1 ORDER BY made DESC")?;
            let steps = query.query_map([alike.as_raw()], |row| {
                Ok((CacheKey(crate::rows::digest(row, 0)?), row.get(1)?))
            })?;
            Ok(steps.collect::<Result<Vec<_>, _>>()?)
        })
    }
}
