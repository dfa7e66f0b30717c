//! Reading `null` as the empty value.

use serde::{Deserialize, Deserializer};

/// Go writes empty lists and maps as `null`; both read as the default.
pub(crate) fn as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
