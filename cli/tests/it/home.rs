//! A user's home in a temporary folder: files of credentials, and helpers in `PATH`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::fake::{Fake, Outcome, files, outcome};

/// What a helper is that keeps credentials, in files beside itself, and remembers what it was asked.
const KEEPER: &str = r#"#!/bin/sh
kept="$0.kept"
mkdir -p "$kept"
input=$(cat)
if [ "$1" = store ]; then
    server=$(printf %s "$input" | sed -n 's/.*"ServerURL":"\([^"]*\)".*/\1/p')
else
    server=$input
fi
echo "$1 $server" >> "$0.log"
file="$kept/$(printf %s "$server" | tr /: __)"
case $1 in
store) printf %s "$input" > "$file" ;;
get) cat "$file" 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;
erase) rm "$file" 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;
list)
    sep={
    for file in "$kept"/*; do
        [ -f "$file" ] || continue
        printf '%s"%s":"u"' "$sep" "$(sed -n 's/.*"ServerURL":"\([^"]*\)".*/\1/p' "$file")"
        sep=,
    done
    [ "$sep" = { ] && printf {
    echo } ;;
esac
"#;

/// The home.
pub(crate) struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// A home with these files, `~` left out of their paths.
    pub(crate) fn new(list: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        files(folder.path(), list);
        Self { folder }
    }

    /// Adds a program `docker-credential-NAME`. Another process writes it: a file that is open for writing anywhere,
    /// in a child another test is just starting too, cannot be run.
    pub(crate) fn helper(&self, name: &str, script: &str) {
        let path = self.path(&format!("bin/docker-credential-{name}"));
        let mut writer = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writer.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
    }

    /// Adds a helper that keeps what it is told, and what it keeps.
    pub(crate) fn keeper(&self, name: &str, kept: &[(&str, &str)]) {
        self.helper(name, KEEPER);
        let folder = self.path(&format!("bin/docker-credential-{name}.kept"));
        std::fs::create_dir(&folder).unwrap();
        for (server, secret) in kept {
            let json = format!(r#"{{"ServerURL":"{server}","Username":"u","Secret":"{secret}"}}"#);
            std::fs::write(folder.join(server.replace(['/', ':'], "_")), json).unwrap();
        }
    }

    /// What a keeper was asked: `ACTION SERVER`.
    pub(crate) fn asked(&self, name: &str) -> Vec<String> {
        let log = self.read(&format!("bin/docker-credential-{name}.log"));
        log.lines().map(str::to_owned).collect()
    }

    /// A path in the home.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// A file's text, empty if it is not there.
    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// Docker's file.
    pub(crate) fn config(&self) -> serde_json::Value {
        serde_json::from_str(&self.read(".docker/config.json")).unwrap()
    }

    /// A command that speaks to this daemon and lives here.
    pub(crate) fn command(&self, fake: &Fake, arguments: &[&str]) -> Command {
        let mut command = fake.command(arguments);
        command.env("HOME", self.folder.path());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command
    }

    /// Runs the program here.
    pub(crate) fn run(&self, fake: &Fake, arguments: &[&str]) -> Outcome {
        outcome(self.command(fake, arguments))
    }

    /// Runs the program with this on its standard input.
    pub(crate) fn run_with(&self, fake: &Fake, arguments: &[&str], input: &[u8]) -> Outcome {
        let path = self.path("input");
        std::fs::write(&path, input).unwrap();
        let mut command = self.command(fake, arguments);
        command.stdin(std::fs::File::open(path).unwrap());
        outcome(command)
    }
}
