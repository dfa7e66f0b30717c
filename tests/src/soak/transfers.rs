//! What clients send and take: images to and from the registry, archives, file systems.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use crate::conformance::{archive, files_of, folder, hex};
use crate::http::{Question, escaped};
use crate::soak::client::{Client, Doubt, Known, OWNER, Outcome, Sent, messages};

/// The base64 of `{}`: no credentials.
const ANONYMOUS: (&str, &str) = ("x-registry-auth", "e30=");

impl Client {
    fn repository(&self) -> String {
        format!("{}/{}/app", self.world.registry, self.name)
    }

    /// Names one of its images for the registry, and gives the tag.
    async fn address(&mut self) -> Outcome<u64> {
        let from = self.some_name()?;
        let tag = self.random.below(3);
        let to = format!("{}:{tag}", self.repository());
        self.name_also(&from, &to).await?;
        Ok(tag)
    }

    fn pushing(&self, tag: u64) -> Question {
        let path = format!("/images/{}/push?tag={tag}", escaped(&self.repository()));
        let mut question = Question::new(Method::POST, path);
        question
            .headers
            .push((ANONYMOUS.0.to_owned(), ANONYMOUS.1.to_owned()));
        question
    }

    pub(super) async fn push(&mut self) -> Outcome<()> {
        let tag = self.address().await?;
        self.push_tag(tag).await
    }

    async fn push_tag(&mut self, tag: u64) -> Outcome<()> {
        let name = format!("{}:{tag}", self.repository());
        // what is there is not known until it is told
        self.there.remove(&name);
        let answer = self.ask(self.pushing(tag)).await?;
        let told = messages(&answer.body)?;
        let digest = told
            .iter()
            .find_map(|message| message["aux"]["Digest"].as_str())
            .ok_or_else(|| format!("the push told {told:?}"))?;
        let sent = Sent {
            digest: digest.to_owned(),
            id: self.here[&name].id.clone(),
        };
        self.there.insert(name, sent);
        Ok(())
    }

    /// Hangs up in the middle of a push. What the registry has then is not known, so it is pushed again.
    pub(super) async fn drop_push(&mut self) -> Outcome<()> {
        let tag = self.address().await?;
        let patience = Duration::from_millis(self.random.below(50));
        let question = self.pushing(tag);
        let _ = tokio::time::timeout(patience, question.ask(&self.world.socket)).await;
        self.push_tag(tag).await
    }

    fn pulling(&mut self, name: &str) -> Question {
        if let Some(sent) = self.there.get(name) {
            let id = sent.id.clone();
            // whose label it has is only known when it is here
            for is_own in [false, true] {
                self.doubt(
                    name,
                    Doubt::Is(Known {
                        id: id.clone(),
                        is_own,
                    }),
                );
            }
        }
        Question::new(
            Method::POST,
            format!("/images/create?fromImage={}", escaped(name)),
        )
    }

    /// One of its images at the registry; pushes one if there is none.
    async fn some_sent(&mut self) -> Outcome<String> {
        if self.there.is_empty() {
            self.push().await?;
        }
        let names: Vec<String> = self.there.keys().cloned().collect();
        Ok(self.random.one_of(&names).clone())
    }

    pub(super) async fn pull(&mut self) -> Outcome<()> {
        let name = self.some_sent().await?;
        if self.here.contains_key(&name) && self.random.below(3) > 0 {
            self.remove_name(&name).await?;
        }
        self.pull_name(&name).await
    }

    async fn pull_name(&mut self, name: &str) -> Outcome<()> {
        let question = self.pulling(name);
        let answer = self.ask(question).await?;
        if answer.status != 200 {
            return Err(format!(
                "pulling {name}: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ));
        }
        let told = messages(&answer.body)?;
        let sent = self.there.get(name).cloned().ok_or("it was pushed")?;
        let digest = Value::from(format!("Digest: {}", sent.digest));
        if !told.iter().any(|message| message["status"] == digest) {
            return Err(format!("{name} has not {digest}: {told:?}"));
        }
        let found = self.learn(name).await?;
        match found.id == sent.id {
            true => Ok(()),
            false => Err(format!("{name} was pushed as {} and is {}", sent.id, found.id)),
        }
    }

    /// Hangs up in the middle of a pull. Whether the name is there then is not known, so it is pulled again.
    pub(super) async fn drop_pull(&mut self) -> Outcome<()> {
        let name = self.some_sent().await?;
        if self.here.contains_key(&name) {
            self.remove_name(&name).await?;
        }
        let patience = Duration::from_millis(self.random.below(30));
        let question = self.pulling(&name);
        let _ = tokio::time::timeout(patience, question.ask(&self.world.socket)).await;
        self.pull_name(&name).await
    }

    /// Takes an archive of an image and looks whether the config is the image's and the layers are the config's.
    pub(super) async fn save(&mut self) -> Outcome<()> {
        let name = self.some_name()?;
        self.save_name(&name).await
    }

    /// Takes archives of all its images and looks into them; gives how many there were.
    pub(super) async fn save_all(&self) -> Outcome<usize> {
        for name in self.here.keys() {
            self.save_name(name).await?;
        }
        Ok(self.here.len())
    }

    async fn save_name(&self, name: &str) -> Outcome<()> {
        let answer = self.get(&format!("/images/{}/get", escaped(name))).await?;
        let files = files_of(&answer.body)?;
        let file = |name: &str| {
            files
                .get(name)
                .ok_or_else(|| format!("{name} is not in the archive"))
        };
        let document = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(|e| e.to_string());
        let manifest = document(file("manifest.json")?)?;
        let config = file(manifest[0]["Config"].as_str().unwrap_or_default())?;
        if sha256(config) != self.here[name].id {
            return Err(format!("the archive of {name} has the config {}", sha256(config)));
        }
        let mut layers = Vec::new();
        for layer in manifest[0]["Layers"].as_array().into_iter().flatten() {
            layers.push(Value::from(sha256(file(layer.as_str().unwrap_or_default())?)));
        }
        match document(config)?["rootfs"]["diff_ids"] == Value::from(layers) {
            true => Ok(()),
            false => Err(format!("the archive of {name} has other layers than its config")),
        }
    }

    /// Takes the beginning of an archive.
    pub(super) async fn drop_save(&mut self) -> Outcome<()> {
        let name = self.some_name()?;
        self.leave_early(&format!("/images/{}/get", escaped(&name))).await
    }

    /// An archive of an image with its label.
    fn archive(&mut self, repository: &str) -> Vec<u8> {
        let layers: Vec<Vec<u8>> = (0..=self.random.below(2))
            .map(|_| folder(&[("f", &self.random.bytes(30_000))]))
            .collect();
        archive(repository, &layers, &json!({"Labels": {OWNER: self.name}}))
    }

    pub(super) async fn load(&mut self) -> Outcome<()> {
        let repository = format!("{}/loaded", self.name);
        let bytes = self.archive(&repository);
        self.doubt(&format!("{repository}:latest"), Doubt::New);
        let answer = self
            .asked(Method::POST, "/images/load?quiet=0", bytes, 200)
            .await?;
        let told = messages(&answer.body)?;
        let expected = format!("Loaded image: {repository}:latest\n");
        if told.last().is_none_or(|last| last["stream"] != expected) {
            return Err(format!("the load told {told:?}"));
        }
        self.learn(&format!("{repository}:latest")).await.map(drop)
    }

    /// Sends half of an archive and hangs up. Its name must never be seen.
    pub(super) async fn drop_load(&mut self) -> Outcome<()> {
        let word = self.new_word();
        let repository = format!("{}/never{word}", self.name);
        let bytes = self.archive(&repository);
        let stream = UnixStream::connect(&self.world.socket).await;
        let mut stream = stream.map_err(|error| error.to_string())?;
        let head = format!(
            "POST /images/load HTTP/1.1\r\nHost: daemon\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        );
        let part = usize::try_from(self.random.below(bytes.len() as u64 - 1)).unwrap_or_default();
        for bytes in [head.as_bytes(), &bytes[..part]] {
            stream.write_all(bytes).await.map_err(|error| error.to_string())?;
        }
        tokio::time::sleep(Duration::from_millis(self.random.below(20))).await;
        Ok(())
    }

    pub(super) async fn import(&mut self) -> Outcome<()> {
        let name = format!("{}/imported:{}", self.name, self.random.below(2));
        let label = escaped(&format!("LABEL {OWNER}={}", self.name));
        let path = format!("/images/create?fromSrc=-&changes={label}&repo={}", escaped(&name));
        let body = folder(&[("f", &self.random.bytes(20_000))]);
        self.doubt(&name, Doubt::New);
        let answer = self.asked(Method::POST, &path, body, 200).await?;
        let told = messages(&answer.body)?;
        let id = told.last().and_then(|last| last["status"].as_str());
        let known = Known {
            id: id.ok_or("the import told no image")?.to_owned(),
            is_own: true,
        };
        self.know(&name, known);
        Ok(())
    }
}

/// The digest of bytes.
fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", hex(&sha2::Sha256::digest(bytes)))
}
