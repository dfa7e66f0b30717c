//! `--attest`, `--provenance` and `--sbom`: what is to be said of a built image.

use std::collections::BTreeMap;

use crate::fields;
use crate::truth::go_bool;

/// What is asked for, `type=KIND,…` each, as the daemon takes it. What is only switched off is left out.
pub(super) fn attestations(attest: &[String], provenance: Option<&str>, sbom: Option<&str>) -> Vec<String> {
    let short = |kind: &str, value: Option<&str>| {
        let value = value?;
        Some(match go_bool(value) {
            Ok(wanted) => format!("type={kind},disabled={}", !wanted),
            Err(_) => format!("type={kind},{value}"),
        })
    };
    let shorts = [short("provenance", provenance), short("sbom", sbom)];
    let all: Vec<String> = attest
        .iter()
        .cloned()
        .chain(shorts.into_iter().flatten())
        .collect();
    // the last word on a kind counts
    let kinds: BTreeMap<String, bool> = all.iter().map(|one| (kind(one), is_wanted(one))).collect();
    match kinds.values().any(|wanted| *wanted) {
        true => all,
        false => Vec::new(),
    }
}

fn kind(text: &str) -> String {
    let fields = fields::split(text);
    let kind = fields.iter().rev().find_map(|field| field.strip_prefix("type="));
    kind.unwrap_or_default().to_ascii_lowercase()
}

/// Whether it is neither switched off nor what clients add by themselves.
fn is_wanted(text: &str) -> bool {
    let is_off = |field: &String| {
        let pair = field.split_once('=');
        pair.is_some_and(|(key, value)| {
            matches!(key, "disabled" | "inline-only") && go_bool(value) == Ok(true)
        })
    };
    !fields::split(text).iter().any(is_off)
}

#[cfg(test)]
mod tests {
    use super::attestations;

    fn asked(attest: &[&str], provenance: Option<&str>, sbom: Option<&str>) -> Vec<String> {
        let attest: Vec<String> = attest.iter().map(|text| (*text).to_owned()).collect();
        attestations(&attest, provenance, sbom)
    }

    #[test]
    fn short_flags_are_spelled_out() {
        assert!(asked(&[], None, None).is_empty());
        assert_eq!(
            asked(&["type=sbom"], Some("true"), None),
            ["type=sbom", "type=provenance,disabled=false"]
        );
        assert_eq!(
            asked(&[], Some("mode=max,version=v1"), Some("generator=a/b:1")),
            ["type=provenance,mode=max,version=v1", "type=sbom,generator=a/b:1"]
        );
    }

    #[test]
    fn what_is_switched_off_asks_for_nothing() {
        assert!(asked(&["type=sbom,disabled=true"], Some("false"), Some("0")).is_empty());
        assert!(asked(&["type=provenance,mode=min,inline-only=true"], None, None).is_empty());
        assert!(asked(&["type=sbom"], None, Some("false")).is_empty());
        assert_eq!(asked(&["type=sbom"], Some("false"), None).len(), 2);
    }
}
