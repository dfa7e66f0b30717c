//! `null` for the empty value, read and written.

use serde::{Deserialize, Deserializer, Serializer};

/// Go writes empty lists and maps as `null`; both read as the default.
pub(crate) fn as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Writes what is not there, here the empty text, as `null`.
pub(crate) fn if_empty<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match text.is_empty() {
        true => serializer.serialize_none(),
        false => serializer.serialize_str(text),
    }
}
