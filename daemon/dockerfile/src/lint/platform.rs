//! Platforms as texts, as far as rules compare them.

/// Operating systems that may stand alone, in Go's names.
const SYSTEMS: [&str; 10] = [
    "linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "wasi", "wasip1", "js",
];

/// Operating system and architecture that `os[/architecture[/variant]]` or an architecture alone names, in Go's
/// words; `host` says what is meant by what is left out.
pub(crate) fn parts(text: &str, host: &str) -> Option<(String, String)> {
    let lower = text.to_ascii_lowercase();
    let parts: Vec<&str> = lower.split('/').collect();
    let well_formed = |part: &&str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    };
    if !parts.iter().all(well_formed) {
        return None;
    }
    let mut of_host = host.split('/');
    let (host_os, host_architecture) = (
        of_host.next().unwrap_or_default(),
        of_host.next().unwrap_or_default(),
    );
    let (os, architecture) = match parts[..] {
        [one] if SYSTEMS.contains(&one) => (one, host_architecture),
        [one] => (host_os, one),
        [os, architecture] | [os, architecture, _] => (os, architecture),
        _ => return None,
    };
    Some((system(os).to_owned(), machine(architecture).to_owned()))
}

fn system(name: &str) -> &str {
    if name == "macos" { "darwin" } else { name }
}

/// What people and kernels say, in Go's names (containerd `platforms`, "Normalization").
fn machine(name: &str) -> &str {
    match name {
        "i386" | "i686" | "x86" => "386",
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "armhf" | "armel" => "arm",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn platforms_are_read() {
        for (text, want) in [
            ("linux/amd64", Some(("linux", "amd64"))),
            ("Linux/x86_64/v2", Some(("linux", "amd64"))),
            ("windows", Some(("windows", "riscv64"))),
            ("aarch64", Some(("linux", "arm64"))),
            ("", None),
            ("a/b/c/d", None),
            ("linux/", None),
            ("linux/$x", None),
        ] {
            let got = parts(text, "linux/riscv64");
            let got = got.as_ref().map(|(os, machine)| (os.as_str(), machine.as_str()));
            assert_eq!(got, want, "{text}");
        }
    }
}
