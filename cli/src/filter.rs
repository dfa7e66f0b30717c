//! `--filter NAME=VALUE` as the daemon wants it.

use serde_json::{Map, Value};

use crate::error::Error;

/// The filters of a command line as JSON: `{"name":{"value":true}}`; nothing if there are none.
///
/// # Errors
/// A filter without `=`.
pub(crate) fn to_json(filters: &[String]) -> Result<Option<String>, Error> {
    let mut names = Map::new();
    for filter in filters {
        let Some((name, value)) = filter.split_once('=') else {
            let message = format!(
                "invalid argument \"{filter}\" for \"--filter\" flag: bad format of filter (expected name=value)"
            );
            return Err(Error::Usage { message });
        };
        let values = names
            .entry(name.trim().to_lowercase())
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(values) = values {
            values.insert(value.trim().to_owned(), Value::Bool(true));
        }
    }
    Ok((!names.is_empty()).then(|| Value::Object(names).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_become_json() {
        let filters = |list: &[&str]| to_json(&list.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>());
        assert_eq!(filters(&[]).unwrap(), None);
        assert_eq!(
            filters(&["Dangling=true", "label=a=b", "label=c"])
                .unwrap()
                .as_deref(),
            Some(r#"{"dangling":{"true":true},"label":{"a=b":true,"c":true}}"#)
        );
        assert!(filters(&["x"]).is_err());
    }
}
