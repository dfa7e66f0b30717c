//! Debian's `docker-registry`: the registry most others are made of.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::certificate::Certificate;
use super::free_port;
use super::token::{ISSUER, SERVICE, TokenService};

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(20);

/// A name that a registry with TLS has besides those of this machine; only a proxy finds it.
pub const NAMED: &str = "registry.example";

/// A registry on a folder and a port of its own; it ends when this is dropped.
pub struct DockerRegistry {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl DockerRegistry {
    /// Open to everybody, over plain http.
    pub fn plain() -> Self {
        Self::start("", |_| "".to_owned())
    }

    /// For one user with a password.
    pub fn htpasswd(user: &str, password: &str) -> Self {
        let made = Command::new("htpasswd")
            .args(["-Bbn", user, password])
            .output()
            .expect("apache2-utils is installed");
        assert!(made.status.success(), "htpasswd failed");
        Self::start("", |folder| {
            let file = folder.join("htpasswd");
            fs_err::write(&file, &made.stdout).expect("files can be written");
            format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display())
        })
    }

    /// Over TLS, with a certificate of an authority nobody knows.
    pub fn tls() -> Self {
        let made = Certificate::for_hosts(&[NAMED, "localhost", "127.0.0.1"]);
        Self::start("tls", |folder| {
            fs_err::write(folder.join("ca.pem"), made.pem).expect("files can be written");
            fs_err::write(folder.join("key.pem"), made.key_pem).expect("files can be written");
            String::new()
        })
    }

    /// Open to whoever has a token of this service.
    pub fn token(service: &TokenService) -> Self {
        Self::start("", |folder| {
            let file = folder.join("tokens.pem");
            fs_err::write(&file, service.certificate()).expect("files can be written");
            format!(
                "auth: {{token: {{realm: '{}', service: \"{SERVICE}\", issuer: \"{ISSUER}\", rootcertbundle: {}}}}}\n",
                service.realm(),
                file.display()
            )
        })
    }

    fn start(tls: &str, auth: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("mica-registry-")
            .tempdir()
            .expect("a folder can be made");
        let path = folder.path();
        let auth = auth(path);
        let port = free_port();
        let tls = match tls {
            "" => String::new(),
            _ => format!(
                ", tls: {{certificate: {0}/ca.pem, key: {0}/key.pem}}",
                path.display()
            ),
        };
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {0}/data}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '127.0.0.1:{port}', secret: test{tls}}}\n{auth}",
            path.display()
        );
        let file = path.join("config.yml");
        fs_err::write(&file, config).expect("files can be written");
        let mut registry = Self {
            folder,
            port,
            child: None,
        };
        registry.spawn();
        registry
    }

    /// Starts it again, on the same folder and port.
    pub fn spawn(&mut self) {
        let path = self.folder.path();
        let log = fs_err::File::create(path.join("log")).expect("files can be written");
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(path.join("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .expect("docker-registry is installed");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = child.try_wait().ok().flatten();
            let log = fs_err::read_to_string(path.join("log")).unwrap_or_default();
            assert!(
                ended.is_none() && started.elapsed() < START,
                "docker-registry does not answer: {log}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child = Some(child);
    }

    /// Ends it; what it holds stays.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // it may have ended by itself, which the test has noticed by then
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The file in which the blob with this digest lies.
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// An image's name at this registry.
    pub fn name(&self, rest: &str) -> String {
        format!("localhost:{}/{rest}", self.port)
    }

    /// The certificate that vouches for it.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The bytes of all blobs and manifests it holds.
    pub fn blob_bytes(&self) -> u64 {
        fn sum(folder: &Path) -> u64 {
            let Ok(entries) = fs_err::read_dir(folder) else {
                return 0;
            };
            let size = |path: PathBuf| match path.is_dir() {
                true => sum(&path),
                false => path.metadata().map_or(0, |meta| meta.len()),
            };
            entries.flatten().map(|entry| size(entry.path())).sum()
        }
        sum(&self.folder.path().join("data/docker/registry/v2/blobs"))
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}
