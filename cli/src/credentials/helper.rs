//! Credential helpers: programs `docker-credential-NAME` that keep credentials
//! (docker/docker-credential-helpers, the protocol on standard input and output).

use std::collections::BTreeMap;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use mica_api::AuthConfig;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::credentials::entry::TOKEN_USER;
use crate::error::Error;

/// What all helpers' names begin with.
const PREFIX: &str = "docker-credential-";

/// How long a helper may take: some ask the user, or a cloud.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// The longest answer; tokens have some thousand bytes.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// How much of a helper's complaint is repeated.
const MAX_REASON_CHARS: usize = 500;

/// What helpers say when they have nothing; all of them, word for word.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A helper; each call runs it once.
#[derive(Debug, Clone)]
pub(super) struct Helper {
    program: String,
    limit: Duration,
}

/// What `get` answers and `store` takes.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Credential {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

impl Helper {
    /// The helper that files call `name`.
    pub(super) fn named(name: &str) -> Self {
        Self {
            program: format!("{PREFIX}{name}"),
            limit: LIMIT,
        }
    }

    /// The same, with no more time than this.
    pub(super) fn within(mut self, limit: Duration) -> Self {
        self.limit = self.limit.min(limit);
        self
    }

    /// What it is called in `PATH`.
    #[cfg(test)]
    pub(super) fn program(&self) -> &str {
        &self.program
    }

    /// A server's credentials; `None` if the helper has none.
    pub(super) async fn get(&self, key: &str) -> Result<Option<AuthConfig>, Error> {
        let Some(answer) = self.call("get", key.as_bytes(), None).await? else {
            return Ok(None);
        };
        let found: Credential =
            serde_json::from_slice(&answer).map_err(|_| self.failed("get", "its answer is not one"))?;
        let mut auth = AuthConfig {
            serveraddress: key.to_owned(),
            ..AuthConfig::default()
        };
        if found.username == TOKEN_USER {
            auth.identitytoken = found.secret;
        } else {
            auth.username = found.username;
            auth.password = found.secret;
        }
        Ok(Some(auth).filter(|auth| !auth.is_anonymous()))
    }

    /// The servers it has credentials of.
    pub(super) async fn list(&self) -> Result<Vec<String>, Error> {
        let Some(answer) = self.call("list", b"", None).await? else {
            return Ok(Vec::new());
        };
        let list: Option<BTreeMap<String, String>> =
            serde_json::from_slice(&answer).map_err(|_| self.failed("list", "its answer is not one"))?;
        Ok(list.unwrap_or_default().into_keys().collect())
    }

    /// Keeps credentials under their `serveraddress`.
    pub(super) async fn store(&self, auth: &AuthConfig) -> Result<(), Error> {
        let is_token = !auth.identitytoken.is_empty();
        let secret = if is_token {
            &auth.identitytoken
        } else {
            &auth.password
        };
        let credential = Credential {
            server_url: auth.serveraddress.clone(),
            username: if is_token { TOKEN_USER } else { &auth.username }.to_owned(),
            secret: secret.clone(),
        };
        let text = serde_json::to_vec(&credential).expect("three texts are JSON");
        self.call("store", &text, Some(secret)).await.map(|_| ())
    }

    /// Forgets a server; one it does not know is no failure.
    pub(super) async fn erase(&self, key: &str) -> Result<(), Error> {
        self.call("erase", key.as_bytes(), None).await.map(|_| ())
    }

    /// Runs it once; `None` if it has nothing for that. Its complaint is repeated without `secret`.
    async fn call(
        &self,
        action: &'static str,
        input: &[u8],
        secret: Option<&str>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let run = tokio::time::timeout(self.limit, self.run(action, input)).await;
        let (status, answer) = match run {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::HelperMissing {
                    program: self.program.clone(),
                });
            }
            Ok(Err(error)) => return Err(self.failed(action, &error.to_string())),
            Err(_) => {
                let seconds = self.limit.as_secs_f32();
                return Err(self.failed(action, &format!("no answer within {seconds} s")));
            }
        };
        if status.success() {
            return Ok(Some(answer));
        }
        let complaint = String::from_utf8_lossy(&answer);
        let complaint = complaint.trim();
        if complaint == NOT_FOUND {
            return Ok(None);
        }
        let mut reason: String = complaint
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_REASON_CHARS)
            .collect();
        if secret.is_some_and(|secret| !secret.is_empty() && complaint.contains(secret)) {
            reason.clear();
        }
        if reason.is_empty() {
            reason = status.to_string();
        }
        Err(self.failed(action, &reason))
    }

    async fn run(&self, action: &str, input: &[u8]) -> io::Result<(ExitStatus, Vec<u8>)> {
        // A name with a slash would be a path, and the protocol knows only names.
        if self
            .program
            .strip_prefix(PREFIX)
            .is_some_and(|name| name.contains('/'))
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // What it writes to standard error is for the user.
        let mut child = Command::new(&self.program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let tell = async {
            let Some(mut stdin) = stdin else { return };
            // Who has not read it all shows that in the answer.
            let _deaf = stdin.write_all(input).await;
        };
        let hear = async {
            let mut answer = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(MAX_ANSWER_BYTES + 1).read_to_end(&mut answer).await?;
            }
            if answer.len() as u64 > MAX_ANSWER_BYTES {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            Ok(answer)
        };
        let ((), answer) = tokio::join!(tell, hear);
        let answer = answer?;
        Ok((child.wait().await?, answer))
    }

    fn failed(&self, action: &'static str, reason: &str) -> Error {
        Error::Helper {
            program: self.program.clone(),
            action,
            reason: reason.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::path::Path;

    /// A helper that is this script. Another process writes it: a file that is open for writing anywhere, in a
    /// child another test is just starting too, cannot be run.
    fn script(folder: &Path, text: &str) -> Helper {
        let path = folder.join("helper");
        let mut writer = std::process::Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = writer.stdin.take().unwrap();
        write!(stdin, "#!/bin/sh\n{text}").unwrap();
        drop(stdin);
        assert!(writer.wait().unwrap().success());
        Helper {
            program: path.to_str().unwrap().to_owned(),
            limit: LIMIT,
        }
    }

    fn run<T>(text: &str, work: impl AsyncFnOnce(Helper) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work(script(folder.path(), text)))
    }

    #[test]
    fn answers_are_read() {
        let get = |text: &str| run(text, async |helper| helper.get("h").await);
        let found =
            get(r#"[ "$1 $(cat)" = "get h" ] && echo '{"ServerURL":"h","Username":"u","Secret":"p"}'"#);
        let found = found.unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("u", "p"));
        let found = get(r#"echo '{"ServerURL":"x","Username":"<token>","Secret":"t"}'"#)
            .unwrap()
            .unwrap();
        assert_eq!((found.username.as_str(), found.identitytoken.as_str()), ("", "t"));
        assert_eq!(found.serveraddress, "h");
        for nothing in [
            "echo 'credentials not found in native keychain'; exit 1",
            "echo '{}'",
            r#"echo '{"Username":"","Secret":""}'"#,
        ] {
            assert!(get(nothing).unwrap().is_none(), "{nothing}");
        }
        let list = run(r#"echo '{"b":"u","a":"v"}'"#, async |helper| helper.list().await);
        assert_eq!(list.unwrap(), ["a", "b"]);
        assert!(
            run("echo null", async |helper| helper.list().await)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn failures_say_what_the_helper_said_and_no_secret() {
        let fails = |text: &str, words: &str| {
            let error = run(text, async |helper| helper.get("h").await)
                .unwrap_err()
                .chain();
            assert!(error.contains(words), "{error}");
        };
        fails(
            "echo 'no credentials server URL'; exit 1",
            "no credentials server URL",
        );
        fails("exit 3", "exit status: 3");
        fails("echo '{\"Secret\":5, s3cret'", "its answer is not one");
        fails("kill -9 $$", "signal: 9");
        fails("head -c 2000000 /dev/zero", "file too large");
        let auth = AuthConfig {
            username: "u".into(),
            password: "s3cret".into(),
            ..AuthConfig::default()
        };
        let error = run("cat; exit 1", async |helper| helper.store(&auth).await)
            .unwrap_err()
            .chain();
        assert!(
            !error.contains("s3cret") && error.contains("exit status: 1"),
            "{error}"
        );
    }

    #[test]
    fn secrets_are_told_on_standard_input_only() {
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().join("seen");
        let text = format!("(echo \"$0 $*\"; env; cat) > '{}'", seen.display());
        for (password, token, end) in [
            (
                "s3cret",
                "",
                r#"{"ServerURL":"h","Username":"u","Secret":"s3cret"}"#,
            ),
            (
                "",
                "s3cret",
                r#"{"ServerURL":"h","Username":"<token>","Secret":"s3cret"}"#,
            ),
        ] {
            let auth = AuthConfig {
                username: "u".into(),
                password: password.into(),
                identitytoken: token.into(),
                serveraddress: "h".into(),
                ..AuthConfig::default()
            };
            run(&text, async |helper| helper.store(&auth).await).unwrap();
            let seen = std::fs::read_to_string(&seen).unwrap();
            assert!(seen.lines().next().unwrap().ends_with(" store"), "{seen}");
            assert!(seen.ends_with(end), "{seen}");
            assert_eq!(seen.matches("s3cret").count(), 1, "{seen}");
        }
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        let started = std::time::Instant::now();
        let slow = async |helper: Helper| helper.within(Duration::from_millis(200)).get("h").await;
        let error = run("sleep 20", slow).unwrap_err().chain();
        assert!(error.contains("get: no answer within 0.2 s"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn who_is_not_there_is_missing() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let get = |name: &str| runtime.block_on(Helper::named(name).get("h")).unwrap_err();
        assert!(matches!(
            get("mica-has-none-of-this-name"),
            Error::HelperMissing { .. }
        ));
        assert!(matches!(get("../x"), Error::Helper { .. }));
    }

    #[test]
    fn helpers_that_do_not_listen_are_heard() {
        let auth = AuthConfig {
            username: "u".into(),
            password: "x".repeat(300_000),
            ..AuthConfig::default()
        };
        run("exec 0<&-; exit 0", async |helper| helper.store(&auth).await).unwrap();
    }
}
