//! Changing `config.json`: what is not understood stays, and no moment leaves half a file.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use mica_api::AuthConfig;
use serde_json::value::RawValue;

use crate::credentials::config::{text_of, unreadable};
use crate::credentials::entry;
use crate::draft::Draft;
use crate::error::Error;
use crate::json::{Object, indented};

/// Symbolic links that are followed one after the other, as in the kernel.
const MAX_LINKS: usize = 40;

const AUTHS: &str = "auths";

/// Keeps credentials under their `serveraddress`.
///
/// # Errors
/// A file that is not docker's, or cannot be replaced.
pub(super) fn store(path: &Path, auth: &AuthConfig) -> Result<(), Error> {
    let entry = raw(&entry::written(auth));
    update(path, |config, origin| {
        let mut auths = auths(config, origin)?;
        auths.set(&auth.serveraddress, entry);
        config.set(AUTHS, raw(&auths));
        Ok(true)
    })
}

/// Removes what is kept under these keys; a file that holds none of them is left alone.
///
/// # Errors
/// As [`store`].
pub(super) fn erase(path: &Path, keys: &[String]) -> Result<(), Error> {
    if text_of(path)?.is_none() {
        return Ok(());
    }
    update(path, |config, origin| {
        let mut auths = auths(config, origin)?;
        let mut is_changed = false;
        for key in keys {
            is_changed |= auths.remove(key);
        }
        config.set(AUTHS, raw(&auths));
        Ok(is_changed)
    })
}

fn auths(config: &Object, origin: &str) -> Result<Object, Error> {
    match config.get(AUTHS) {
        None | Some("null") => Ok(Object::default()),
        Some(text) => serde_json::from_str(text).map_err(|error| unreadable(origin, &error)),
    }
}

fn raw(value: &impl serde::Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("objects of texts are JSON")
}

/// Reads the file, changes it and puts it back if `change` says it did.
fn update(path: &Path, change: impl FnOnce(&mut Object, &str) -> Result<bool, Error>) -> Result<(), Error> {
    let failed = |action| {
        move |source| Error::File {
            action,
            path: path.to_owned(),
            source,
        }
    };
    let target = behind_links(path).map_err(failed("cannot follow the link"))?;
    let folder = target
        .parent()
        .ok_or_else(|| failed("cannot create")(io::ErrorKind::InvalidInput.into()))?;
    if !folder.is_dir() {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(failed("cannot make the folder of"))?;
    }
    // Two logins at once would lose one of them. Held for a few milliseconds; gone with this process.
    let lock = File::open(folder).map_err(failed("cannot open the folder of"))?;
    lock.lock().map_err(failed("cannot lock the folder of"))?;
    let origin = path.display().to_string();
    let text = text_of(&target)?.unwrap_or_default();
    let mut config: Object = match text.trim().is_empty() {
        true => Object::default(),
        false => serde_json::from_str(&text).map_err(|error| unreadable(&origin, &error))?,
    };
    if !change(&mut config, &origin)? {
        return Ok(());
    }
    let text = indented(raw(&config).get(), "\t");
    let (mut file, draft) = Draft::create(&target)?;
    keep_owner(&target, &file)
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        .map_err(failed("cannot write"))?;
    draft.keep(&target)?;
    lock.sync_all().map_err(failed("cannot keep the folder of"))
}

/// What root writes into a user's file must stay the user's.
fn keep_owner(target: &Path, file: &File) -> io::Result<()> {
    let Ok(old) = fs::metadata(target) else {
        return Ok(());
    };
    let new = file.metadata()?;
    if rustix::process::geteuid().is_root() && (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        std::os::unix::fs::fchown(file, Some(old.uid()), Some(old.gid()))?;
    }
    Ok(())
}

/// The file at the end of symbolic links, there or not: a link is kept, what it points to is replaced.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            Ok(next) => {
                target.pop();
                target.push(next);
            }
            Err(_) => return Ok(target),
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::tests::any_json;
    use proptest::prelude::*;
    use serde_json::{Map, Value};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn auth(key: &str, password: &str) -> AuthConfig {
        AuthConfig {
            username: "u".into(),
            password: password.into(),
            serveraddress: key.into(),
            ..AuthConfig::default()
        }
    }

    #[test]
    fn a_new_file_is_dockers_and_its_owners_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/.docker/config.json");
        store(&path, &auth("ghcr.io", "p")).unwrap();
        let text = "{\n\t\"auths\": {\n\t\t\"ghcr.io\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n\t}\n}";
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let parent = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(parent.permissions().mode() & 0o777, 0o700);
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no drafts stay"
        );
    }

    #[test]
    fn what_is_not_understood_keeps_its_text_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(
            &path,
            r#"{"HttpHeaders":{"b":"<","a":"\u003c"},"auths":{"z":{"x":1.50,"auth":"eg=="},"a":{}},"n":12345678901234567890123}"#,
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        store(&path, &auth("a", "p")).unwrap();
        store(&path, &auth("new", "p")).unwrap();
        erase(&path, &["z".to_owned(), "gone".to_owned()]).unwrap();
        let compact: String = fs::read_to_string(&path).unwrap().split(['\n', '\t']).collect();
        assert_eq!(
            compact.replace("\": ", "\":"),
            r#"{"HttpHeaders":{"b":"<","a":"\u003c"},"auths":{"a":{"auth":"dTpw"},"new":{"auth":"dTpw"}},"n":12345678901234567890123}"#
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn links_stay_and_their_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("config.json"), folder.path().join("dir/real"));
        fs::create_dir(folder.path().join("dir")).unwrap();
        symlink("dir/real", &link).unwrap();
        for password in ["p", "q"] {
            store(&link, &auth("h", password)).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert!(fs::read_to_string(&file).unwrap().contains("\"auth\""));
        }
        let circle = folder.path().join("circle");
        symlink("circle", &circle).unwrap();
        assert!(
            store(&circle, &auth("h", "p"))
                .unwrap_err()
                .chain()
                .contains("symbolic links")
        );
    }

    #[test]
    fn what_is_not_dockers_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        for text in ["{", "[]", r#"{"auths":[]}"#, r#"{"auths":"s3cret"}"#] {
            fs::write(&path, text).unwrap();
            let error = store(&path, &auth("h", "p")).unwrap_err().chain();
            assert!(
                error.contains("config.json: line 1") && !error.contains("s3cret"),
                "{error}"
            );
            assert!(erase(&path, &["h".to_owned()]).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, r#"{ "auths" : null }"#).unwrap();
        erase(&path, &["h".to_owned()]).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            r#"{ "auths" : null }"#,
            "nothing to remove"
        );
        erase(&folder.path().join("none/config.json"), &["h".to_owned()]).unwrap();
        assert!(!folder.path().join("none").exists());
    }

    #[test]
    fn logins_at_once_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        // Threads share a process ID, so their drafts have one name: the lock keeps them apart.
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || store(path, &auth(&format!("host{number}"), "p")).unwrap());
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("\"auth\"").count(), 8, "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn unknown_keys_survive(
            others in proptest::collection::vec(("[a-zA-Z]{1,6}", any_json()), 0..6),
            entries in proptest::collection::vec(("[a-z.]{1,5}", any_json()), 0..4),
            at in 0..6_usize,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.json");
            let mut before: Vec<(String, Value)> = Map::from_iter(others).into_iter().collect();
            before.retain(|(key, _)| key != AUTHS);
            let auths: Map<String, Value> = entries.into_iter().collect();
            before.insert(at.min(before.len()), (AUTHS.to_owned(), Value::Object(auths.clone())));
            let before: Map<String, Value> = before.into_iter().collect();
            fs::write(&path, Value::Object(before.clone()).to_string()).unwrap();

            store(&path, &auth("new.host:1", "p")).unwrap();
            let mut after: Map<String, Value> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            prop_assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
            let stored = after[AUTHS].as_object_mut().unwrap().shift_remove("new.host:1").unwrap();
            prop_assert_eq!(stored, serde_json::json!({"auth": "dTpw"}));
            prop_assert_eq!(&after, &before);

            erase(&path, &["new.host:1".to_owned()]).unwrap();
            let erased: Map<String, Value> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            prop_assert_eq!(&erased, &before);
        }
    }
}
