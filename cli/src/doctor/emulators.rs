//! What runs programs of other machines: the handlers of binfmt_misc.

use std::path::Path;

use crate::doctor::Finding;

const ABOUT: &str = "emulators";
const PLACE: &str = "/proc/sys/fs/binfmt_misc";

/// Looks at the handlers of the machine.
pub(crate) fn emulators() -> Vec<Finding> {
    vec![look(Path::new(PLACE))]
}

fn look(place: &Path) -> Finding {
    let none = "none: RUN works for this machine's own platform, COPY for all";
    let handlers = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for entry in handlers {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(machine) = name.strip_prefix("qemu-") else {
            continue;
        };
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        match trouble(&text) {
            None => good.push(machine.to_owned()),
            Some(why) => bad.push(format!("{machine}: {why}")),
        }
    }
    good.sort();
    bad.sort();
    if !bad.is_empty() {
        return Finding::warn(
            ABOUT,
            bad.join("; "),
            "install qemu-user-static and register it with the flag F (Debian's package does)",
        );
    }
    match good.is_empty() {
        true => Finding::ok(ABOUT, none),
        false => Finding::ok(ABOUT, good.join(", ")),
    }
}

/// What keeps a handler, as the kernel shows it, from being of use.
fn trouble(text: &str) -> Option<&'static str> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    if text.lines().next() != Some("enabled") {
        return Some("switched off");
    }
    let opened_before = line("flags: ").is_some_and(|flags| flags.contains('F'));
    if !opened_before {
        return Some("without the flag F: its interpreter would have to be in every image");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn handlers_are_of_use_or_not() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(look(place.path()).grade, Grade::Ok);
        let put = |name: &str, text: &str| std::fs::write(place.path().join(name), text).unwrap();
        put("status", "enabled\n");
        put(
            "qemu-aarch64",
            "enabled\ninterpreter /usr/bin/qemu\nflags: POCF\n",
        );
        assert_eq!(look(place.path()).found, "aarch64");
        put("qemu-arm", "enabled\ninterpreter /usr/bin/qemu\nflags: P\n");
        put("qemu-ppc", "disabled\n");
        let found = look(place.path());
        assert_eq!(found.grade, Grade::Warn);
        assert!(found.found.starts_with("arm: without the flag F"), "{found:?}");
        assert!(found.found.contains("ppc: switched off"), "{found:?}");
    }
}
