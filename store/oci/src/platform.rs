//! Operating system, architecture and variant, in Go's names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::document::null_as_default;
use crate::error::PlatformError;

/// What an image runs on. Documents of others may leave any part out, which then is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, …
    #[serde(default, deserialize_with = "null_as_default")]
    pub architecture: String,
    /// `linux`
    #[serde(default, deserialize_with = "null_as_default")]
    pub os: String,
    /// Windows build; empty elsewhere.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub os_version: String,
    /// `v7`, `v8`, …; empty where the architecture has none.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub variant: String,
}

const SYSTEMS: [&str; 6] = ["linux", "windows", "darwin", "freebsd", "wasi", "js"];
const ARCHITECTURES: [&str; 16] = [
    "amd64", "arm64", "arm", "386", "ppc64le", "ppc64", "s390x", "riscv64", "mips64le", "mips64", "mipsle",
    "mips", "loong64", "wasm", "sparc64", "riscv",
];

impl Platform {
    /// The platform this program runs on.
    pub fn host() -> Self {
        let (architecture, variant) = normalise(std::env::consts::ARCH, "");
        Self {
            architecture,
            os: "linux".into(),
            os_version: String::new(),
            variant,
        }
    }
}

/// Maps what people and kernels say to Go's architecture names (containerd `platforms`, "Normalization").
fn normalise(architecture: &str, variant: &str) -> (String, String) {
    let (a, v) = match (architecture, variant) {
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", v) => ("amd64", v),
        ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", ""),
        ("aarch64", v) => ("arm64", v),
        ("i386" | "i686" | "x86", _) => ("386", ""),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "") => ("arm", "v7"),
        ("arm", "5" | "6" | "7" | "8") => return ("arm".into(), format!("v{variant}")),
        (a, v) => (a, v),
    };
    (a.to_owned(), v.to_owned())
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `os[/architecture[/variant]]`, or an architecture alone, which means Linux.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let unknown = || PlatformError::Unknown(text.chars().take(100).collect());
        let lower = text.trim().to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let host = Self::host();
        let (os, architecture, variant) = match parts[..] {
            [one] if SYSTEMS.contains(&one) => (one, host.architecture.as_str(), host.variant.as_str()),
            [one] => ("linux", one, ""),
            [os, architecture] => (os, architecture, ""),
            [os, architecture, variant] if !variant.is_empty() => (os, architecture, variant),
            _ => return Err(unknown()),
        };
        let (architecture, variant) = normalise(architecture, variant);
        if !SYSTEMS.contains(&os) || !ARCHITECTURES.contains(&architecture.as_str()) {
            return Err(unknown());
        }
        Ok(Self {
            architecture,
            os: os.to_owned(),
            os_version: String::new(),
            variant,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_normalised() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("arm64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("Linux/AMD64", "linux/amd64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_platform() {
        for text in [
            "",
            "/",
            "linux/",
            "plan/9",
            "linux/foo",
            "linux/arm/v7/x",
            "linux//v7",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }
}
