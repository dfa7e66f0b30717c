//! Which manifest of an index is meant for a platform (containerd `platforms`, `Only`).

use crate::manifest::Descriptor;
use crate::platform::Platform;

/// What attestations that docker's builder puts beside images call their platform.
const UNKNOWN: &str = "unknown";

impl Platform {
    /// The descriptor that fits this platform best: the same or, for what newer processors run too, the nearest older
    /// variant. Of equal ones the first. Attestations are passed over.
    pub fn choose<'a>(&self, manifests: &'a [Descriptor]) -> Option<&'a Descriptor> {
        let ranked = manifests.iter().filter_map(|manifest| {
            let rank = match &manifest.platform {
                Some(platform) => self.rank(platform)?,
                // an image that does not say what it is for, where nothing that does fits
                None if manifest.media_type.is_manifest() || manifest.media_type.is_index() => u32::MAX,
                None => return None,
            };
            Some((rank, manifest))
        });
        // `min_by_key` gives the first of equals
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, manifest)| manifest)
    }

    /// How far `offered` is from what is wanted; `None` if it does not run here.
    fn rank(&self, offered: &Self) -> Option<u32> {
        if offered.os == UNKNOWN || offered.architecture == UNKNOWN {
            return None;
        }
        let wanted = self.normal();
        let offered = offered.normal();
        // a part that is left out says nothing against it, but anything that says more comes first
        let vague = offered.os.is_empty() || offered.architecture.is_empty();
        if vague {
            let fits = |offered: &str, wanted: &str| offered.is_empty() || offered == wanted;
            let possible = fits(&offered.os, &wanted.os) && fits(&offered.architecture, &wanted.architecture);
            return possible.then_some(u32::MAX - 1);
        }
        if offered.os != wanted.os || offered.architecture != wanted.architecture {
            return None;
        }
        let variant = variant_rank(&wanted, &offered)?;
        let version = match (wanted.os_version.as_str(), offered.os_version.as_str()) {
            ("", _) | (_, "") => 0,
            (wanted, offered) if wanted == offered => 0,
            // Windows images run on hosts of the same build, whatever the revision
            (wanted, offered) if build(wanted) == build(offered) => 1,
            _ => return None,
        };
        Some(variant.saturating_mul(2).saturating_add(version))
    }

    /// The names as Go has them, whatever the document says.
    #[must_use]
    pub fn normal(&self) -> Self {
        let text = match self.variant.is_empty() {
            true => format!("{}/{}", self.os, self.architecture),
            false => format!("{}/{}/{}", self.os, self.architecture, self.variant),
        };
        match text.parse::<Self>() {
            Ok(platform) => Self {
                os_version: self.os_version.clone(),
                ..platform
            },
            Err(_) => self.clone(),
        }
    }
}

/// The number of a variant: `v7` is 7; for amd64 none is the first level, for arm64 the eighth.
fn level(platform: &Platform) -> Option<u32> {
    let digits = platform.variant.strip_prefix('v').unwrap_or(&platform.variant);
    match (platform.architecture.as_str(), digits) {
        ("amd64", "") => Some(1),
        ("arm64", "") => Some(8),
        ("arm", "") => Some(7),
        // v8.1 and the like are later than v8
        (_, digits) => digits.split('.').next().and_then(|major| major.parse().ok()),
    }
}

fn variant_rank(wanted: &Platform, offered: &Platform) -> Option<u32> {
    if wanted.variant == offered.variant {
        return Some(0);
    }
    match wanted.architecture.as_str() {
        "amd64" | "arm" | "arm64" => level(wanted)?
            .checked_sub(level(offered)?)
            .map(|steps| steps.saturating_add(1)),
        // where variants are not ordered, one that is not named fits all
        _ => (wanted.variant.is_empty() || offered.variant.is_empty()).then_some(1),
    }
}

/// The first three parts of a Windows version: `10.0.17763.1234` is of build `10.0.17763`.
fn build(version: &str) -> Vec<&str> {
    version.split('.').take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::media::OCI_MANIFEST;

    fn offered(texts: &[&str]) -> Vec<Descriptor> {
        let one = |(n, text): (usize, &&str)| {
            let mut descriptor = Descriptor::new(OCI_MANIFEST, Digest::of(&[n as u8]), 1);
            let mut parts = text.split('/');
            let mut part = || parts.next().unwrap_or_default().to_owned();
            descriptor.platform = (*text != "none").then(|| Platform {
                os: part(),
                architecture: part(),
                variant: part(),
                os_version: part(),
            });
            descriptor
        };
        texts.iter().enumerate().map(one).collect()
    }

    fn chosen(wanted: &str, texts: &[&str]) -> Option<usize> {
        let all = offered(texts);
        let platform: Platform = wanted.parse().unwrap();
        let found = platform.choose(&all)?;
        all.iter().position(|one| one == found)
    }

    #[test]
    fn the_nearest_variant_that_runs_is_chosen() {
        for (wanted, texts, at) in [
            (
                "linux/amd64",
                &["linux/arm64", "linux/amd64", "linux/amd64/v2"][..],
                Some(1),
            ),
            (
                "linux/amd64/v3",
                &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"],
                Some(1),
            ),
            ("linux/amd64", &["linux/amd64/v2"], None),
            ("linux/arm64", &["linux/arm64/v8"], Some(0)),
            ("linux/arm64/v8", &["linux/arm/v7", "linux/arm64"], Some(1)),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"], Some(1)),
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"], Some(1)),
            ("linux/arm", &["linux/arm/v8", "linux/arm/v7"], Some(1)),
            ("linux/amd64", &["linux/x86_64"], Some(0)),
            ("linux/s390x", &["linux/amd64", "linux/s390x"], Some(1)),
            ("linux/amd64", &["windows/amd64"], None),
            (
                "windows/amd64",
                &[
                    "linux/amd64",
                    "windows/amd64//10.0.17763.1",
                    "windows/amd64//10.0.20348.1",
                ],
                Some(1),
            ),
        ] {
            assert_eq!(chosen(wanted, texts), at, "{wanted} of {texts:?}");
        }
    }

    #[test]
    fn what_says_little_comes_after_what_says_more() {
        for (wanted, texts, at) in [
            ("linux/amd64", &["linux", "linux/amd64"][..], Some(1)),
            ("linux/amd64", &["none", "linux"], Some(1)),
            ("linux/amd64", &["linux"], Some(0)),
            ("linux/amd64", &["/amd64"], Some(0)),
            ("linux/amd64", &["", "unknown/unknown"], Some(0)),
            ("linux/amd64", &["windows", "/arm64"], None),
            // numbers without measure
            ("linux/arm/v4294967295", &["linux/arm/v5"], Some(0)),
            ("linux/arm/v7", &["linux/arm/v99999999999", "linux/arm/vx"], None),
        ] {
            assert_eq!(chosen(wanted, texts), at, "{wanted} of {texts:?}");
        }
    }

    #[test]
    fn attestations_are_no_images() {
        assert_eq!(
            chosen("linux/amd64", &["unknown/unknown", "linux/amd64"]),
            Some(1)
        );
        assert_eq!(chosen("linux/amd64", &["unknown/unknown"]), None);
        assert_eq!(chosen("linux/amd64", &["none", "linux/amd64"]), Some(1));
        assert_eq!(chosen("linux/amd64", &["none"]), Some(0));
    }

    #[test]
    fn windows_builds_are_told_apart() {
        let all = offered(&["windows/amd64//10.0.17763.5", "windows/amd64//10.0.20348.9"]);
        let mut wanted: Platform = "windows/amd64".parse().unwrap();
        wanted.os_version = "10.0.20348.1".into();
        assert_eq!(wanted.choose(&all), Some(&all[1]));
        wanted.os_version = "10.0.14393.1".into();
        assert_eq!(wanted.choose(&all), None);
    }
}
