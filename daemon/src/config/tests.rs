//! What settings come to, and which are refused.

use super::*;

fn places(root: bool) -> Places {
    Places {
        root,
        home: Some("/home/me".into()),
        runtime: Some("/run/user/1000".into()),
        data: None,
        config: Some("/nonexistent".into()),
    }
}

fn parse(words: &[&str]) -> Arguments {
    Arguments::try_parse_from([&["micad"], words].concat()).unwrap()
}

#[test]
fn defaults_differ_between_root_and_others() {
    let nowhere = ["--config-file", "/dev/null"];
    assert!(
        Settings::combine(parse(&nowhere), &places(true)).is_err(),
        "an empty file is no JSON"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), "{}").unwrap();
    let words = ["--config-file", file.path().to_str().unwrap()];
    let settings = Settings::combine(parse(&words), &places(true)).unwrap();
    assert_eq!(settings.root, Path::new("/var/lib/mica"));
    assert_eq!(
        settings.default_address.as_deref(),
        Some(Path::new("/run/mica/mica.sock"))
    );
    assert_eq!(settings.idle, None);
    assert!(!settings.insecure_allowed);
    let settings = Settings::combine(parse(&[]), &places(false)).unwrap();
    assert_eq!(settings.root, Path::new("/home/me/.local/share/mica"));
    assert_eq!(
        settings.default_address.as_deref(),
        Some(Path::new("/run/user/1000/mica/mica.sock"))
    );
}

#[test]
fn the_command_line_wins_over_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(
        file.path(),
        r#"{"hosts":["unix:///a"],"data-root":"/b","registry-mirrors":["https://m"],"insecure-registries":["h:1"],
            "builder":{"entitlements":{"security-insecure":true}}}"#,
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    let settings = Settings::combine(parse(&["--config-file", path]), &places(true)).unwrap();
    assert_eq!(settings.addresses, [Address::Unix("/a".into())]);
    assert_eq!(settings.root, Path::new("/b"));
    assert_eq!(settings.registries.mirrors, ["https://m"]);
    let words = [
        "--config-file",
        path,
        "-H",
        "unix:///c",
        "-H",
        "fd://",
        "--data-root",
        "/d",
        "--idle-timeout",
        "7",
    ];
    let settings = Settings::combine(parse(&words), &places(true)).unwrap();
    assert_eq!(
        settings.addresses,
        [Address::Unix("/c".into()), Address::Activation]
    );
    assert_eq!(settings.root, Path::new("/d"));
    assert_eq!(settings.idle, Some(Duration::from_secs(7)));
}

#[test]
fn budgets_are_dockerd_s_and_the_command_line_wins_here_too() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let read = |gc: &str, words: &[&str]| {
        fs_err::write(file.path(), format!(r#"{{"builder":{{"gc":{gc}}}}}"#)).unwrap();
        let words = [&["--config-file", path], words].concat();
        Settings::combine(parse(&words), &places(true)).map(|settings| settings.keeping)
    };
    assert_eq!(read("{}", &[]).unwrap(), Keeping::default());
    let said = r#"{"enabled":true,"defaultReservedSpace":"1GB","defaultKeepStorage":"2GB",
        "defaultMaxUsedSpace":"50%","defaultMinFreeSpace":"4096"}"#;
    let keeping = Keeping {
        enabled: true,
        reserved: Some(Space::Bytes(1 << 30)),
        most: Some(Space::Percent(50)),
        free: Some(Space::Bytes(4096)),
    };
    assert_eq!(read(said, &[]).unwrap(), keeping);
    let words = ["--gc-max-used-space=3GB", "--gc-min-free-space=0", "--no-gc"];
    let other = Keeping {
        enabled: false,
        most: Some(Space::Bytes(3 << 30)),
        free: Some(Space::Bytes(0)),
        ..keeping
    };
    assert_eq!(read(said, &words).unwrap(), other);
    let older = read(r#"{"enabled":false,"defaultKeepStorage":"2GB"}"#, &[]).unwrap();
    assert_eq!(
        (older.enabled, older.reserved),
        (false, Some(Space::Bytes(2 << 30)))
    );
    let error = read(r#"{"defaultMinFreeSpace":"much"}"#, &[])
        .unwrap_err()
        .describe();
    assert!(error.contains("builder.gc.defaultMinFreeSpace"), "{error}");
    assert!(error.contains("\"much\" is no amount of space"), "{error}");
}

/// The settings that a flag says, or why they are none.
fn by_flag(flag: &str, value: &str) -> Result<Settings, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), "{}").unwrap();
    let path = file.path().to_str().unwrap();
    let words = ["micad", "--config-file", path, &format!("{flag}={value}")];
    let arguments = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
    Settings::combine(arguments, &places(true)).map_err(|error| error.describe())
}

/// The same of the settings file.
fn by_file(key: &str, value: &serde_json::Value) -> Result<Settings, String> {
    let outer = key
        .rsplit('.')
        .fold(value.clone(), |inner, key| serde_json::json!({ key: inner }));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), outer.to_string()).unwrap();
    let path = file.path().to_str().unwrap();
    Settings::combine(parse(&["--config-file", path]), &places(true)).map_err(|error| error.describe())
}

#[test]
fn a_flag_may_say_what_the_file_may_say_and_nothing_else() {
    use serde_json::{Value, json};
    let text = |value: &str| json!(value);
    let texts = |value: &str| json!([value]);
    let number = |value: &str| value.parse::<u64>().map_or(json!(value), Value::from);
    type Reads<'a> = &'a dyn Fn(&str) -> Value;
    let mut tried = std::collections::BTreeSet::new();
    for (key, reads, good, bad) in [
        (
            "hosts",
            &texts as Reads<'_>,
            &["unix:///a", "/a", "fd://"][..],
            &["tcp://0.0.0.0:1", "a", ""][..],
        ),
        ("data-root", &text, &["/a", "a"], &[""]),
        (
            "builder.gc.defaultMaxUsedSpace",
            &text,
            &["0", "20GB", "100%", "18446744073709551615"],
            &["", "much", "-1", "101%", "18446744073709551616", "16777216TB"],
        ),
        ("builder.gc.defaultMinFreeSpace", &text, &["1%"], &["1%%", "1e9"]),
        (
            "builder.gc.defaultReservedSpace",
            &text,
            &["1.5GB"],
            &["1.x", "GB"],
        ),
        (
            "log-level",
            &text,
            &crate::log::LEVELS,
            &["loud", "INFO", "", "0"],
        ),
        ("log-format", &text, &["text", "json"], &["xml", "JSON", ""]),
        (
            "shutdown-timeout",
            &number,
            &["0", "10", "86400"],
            &[
                "86401",
                "18446744073709551615",
                "18446744073709551616",
                "-1",
                "1.5",
                "",
            ],
        ),
    ] {
        let setting = options::SETTINGS
            .iter()
            .find(|setting| setting.key == key)
            .unwrap();
        let words = setting.about.split([' ', '.']);
        let flag = words.clone().find(|word| word.starts_with("--")).unwrap();
        for value in good {
            let (flagged, filed) = (by_flag(flag, value), by_file(key, &reads(value)));
            let (flagged, filed) = (flagged.unwrap(), filed.unwrap());
            // each has a file of its own, which is named where rights are missing
            let flagged = Settings {
                file: filed.file.clone(),
                rights: filed.rights.clone(),
                ..flagged
            };
            assert_eq!(flagged, filed, "{key} {value}");
        }
        for value in bad {
            let (flagged, filed) = (by_flag(flag, value), by_file(key, &reads(value)));
            assert!(
                flagged.is_err() && filed.is_err(),
                "{key} {value}: {flagged:?} {filed:?}"
            );
        }
        tried.insert(key);
    }
    let said = by_flag("--shutdown-timeout", "18446744073709551615").unwrap_err();
    assert!(said.contains("a whole number from 0 to 86400"), "{said}");
    // `--no-gc` has no value
    tried.insert("builder.gc.enabled");
    let with_flag = options::SETTINGS
        .iter()
        .filter(|setting| setting.about.contains("--"));
    let flagged: std::collections::BTreeSet<&str> = with_flag
        .map(|setting| setting.key)
        .filter(|key| *key != "builder.entitlements.security-insecure")
        .collect();
    assert_eq!(flagged, tried);
}

#[test]
fn a_key_without_effect_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), r#"{"hostz":[]}"#).unwrap();
    let path = file.path().to_str().unwrap();
    let error = Settings::combine(parse(&["--config-file", path]), &places(true)).unwrap_err();
    assert!(
        error.describe().contains("unknown field `hostz`"),
        "{}",
        error.describe()
    );
    assert!(error.is_usage());
    let missing = ["--config-file", "/nonexistent/x"];
    assert!(Settings::combine(parse(&missing), &places(true)).is_err());
}

/// The keys that serde knows at a place, by its own complaint about one that nobody knows.
fn keys(prefix: &str) -> Vec<String> {
    let mut text = r#"{"zzz":0}"#.to_owned();
    for key in prefix.split('.').rev().filter(|key| !key.is_empty()) {
        text = format!("{{\"{key}\":{text}}}");
    }
    let said = serde_json::from_str::<File>(&text).unwrap_err().to_string();
    let known = said.split_once("expected").unwrap().1;
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_table_and_the_file_have_the_same_keys() {
    let table: std::collections::BTreeSet<&str> =
        options::SETTINGS.iter().map(|setting| setting.key).collect();
    let mut found = std::collections::BTreeSet::new();
    let mut open = vec![String::new()];
    while let Some(prefix) = open.pop() {
        for key in keys(&prefix) {
            let path = if prefix.is_empty() {
                key
            } else {
                format!("{prefix}.{key}")
            };
            match table.iter().any(|own| own.starts_with(&format!("{path}."))) {
                true => open.push(path),
                false => drop(found.insert(path)),
            }
        }
    }
    assert_eq!(
        found
            .iter()
            .map(String::as_str)
            .collect::<std::collections::BTreeSet<_>>(),
        table
    );
}

#[test]
fn wrong_files_are_refused_with_file_and_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for (text, parts) in [
        ("{\n\"log-level\": 7}", &["line 2", "one of error"][..]),
        (
            "{\"data-root\": \"/a\",\n\"data-root\": \"/b\"}",
            &["duplicate field", "line 2"],
        ),
        ("{\"hosts\": [\"/a\", \"/a\"]}", &["twice"]),
        (
            "{\"rights\": {\"read\": {\"users\": [\"root\", \"root\"]}}}",
            &["named in rights.read and again"],
        ),
        ("{\"log-level\":", &["EOF"]),
    ] {
        fs_err::write(file.path(), text).unwrap();
        let error = Settings::combine(parse(&["--config-file", path]), &places(true)).unwrap_err();
        assert!(error.is_usage());
        let said = error.describe();
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(text.contains("hosts") || said.contains(path), "{said}");
    }
    fs_err::write(file.path(), r#"{"registry-mirrors": ["ftp://x"]}"#).unwrap();
    let settings = Settings::combine(parse(&["--config-file", path]), &places(true)).unwrap();
    assert!(settings.check().unwrap_err().describe().contains(path));
}

#[test]
fn what_needs_a_restart_is_known() {
    let settings = |words: &[&str]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "{}").unwrap();
        let words = [words, &["--config-file", file.path().to_str().unwrap()]].concat();
        Settings::combine(parse(&words), &places(true)).unwrap()
    };
    let old = settings(&["--data-root", "/a", "--log-level", "info"]);
    let new = settings(&["--data-root", "/b", "--log-level", "debug", "-H", "/x"]);
    assert_eq!(old.needs_restart(&new), ["hosts", "data-root"]);
    assert!(old.needs_restart(&old).is_empty());
    assert_eq!(new.log_level, log::Level::Debug);
}

#[test]
fn only_unix_sockets_are_listened_on() {
    assert_eq!(address("/x").unwrap(), Address::Unix("/x".into()));
    for host in ["tcp://0.0.0.0:2375", "unix://x", "x", "", "npipe://x"] {
        assert!(address(host).is_err(), "{host}");
    }
}
