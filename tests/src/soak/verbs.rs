//! What clients do to images that are here: building, naming, looking, removing, listening.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::Value;

use crate::conformance::folder;
use crate::http::{Question, escaped};
use crate::soak::client::{Client, Doubt, Known, OWNER, Outcome, json, messages};
use crate::soak::world::BASE;

/// How long something that should come soon may take.
const SOON: Duration = Duration::from_secs(60);

/// How long a build that is cancelled may go on.
const CANCELLED: Duration = Duration::from_secs(30);

impl Client {
    /// A build of this Dockerfile, in which `f` is a file: with content of its own and its label, or with such that others build of.
    fn building(&mut self, tag: &str, rest: &str, is_own: bool) -> Question {
        let content = match is_own {
            true => {
                let size = 1 + self.random.below(64 << 10);
                self.random.bytes(usize::try_from(size).unwrap_or_default())
            }
            false => self.world.common(&mut self.random),
        };
        let dockerfile = format!("FROM {BASE}\nCOPY f /f\n{rest}");
        let context = folder(&[("Dockerfile", dockerfile.as_bytes()), ("f", &content)]);
        let path = format!("/build?networkmode=none&t={}", escaped(tag));
        Question::new(Method::POST, path).with(context)
    }

    fn endless(&self) -> String {
        format!("RUN sleep {}\n", self.world.endless)
    }

    pub(super) async fn build(&mut self) -> Outcome<()> {
        let tag = format!("{}/app:{}", self.name, self.random.below(5));
        let is_own = self.random.below(3) > 0;
        let run = match self.random.below(4) {
            0 => "RUN cat /f > /g\n",
            _ => "",
        };
        let label = match is_own {
            true => format!("LABEL {OWNER}={}\n", self.name),
            false => String::new(),
        };
        let question = self.building(&tag, &format!("{run}{label}"), is_own);
        self.doubt(&tag, Doubt::New);
        let answer = self.ask(question).await?;
        if answer.status != 200 {
            return Err(format!(
                "{} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            ));
        }
        let told = messages(&answer.body)?;
        let id = told
            .iter()
            .rev()
            .find_map(|message| message["aux"]["ID"].as_str())
            .ok_or("the build told no image")?;
        let last = told.last().and_then(|message| message["stream"].as_str());
        if last != Some(&format!("Successfully tagged {tag}\n")) {
            return Err(format!("the build ended with {last:?}"));
        }
        let known = Known {
            id: id.to_owned(),
            is_own,
        };
        self.know(&tag, known);
        Ok(())
    }

    /// Begins a build that takes long, and hangs up. Its tag must never be seen.
    pub(super) async fn drop_build(&mut self) -> Outcome<()> {
        let word = self.new_word();
        let tag = format!("{}/never:{word}", self.name);
        let question = self.building(&tag, &self.endless(), true);
        let patience = Duration::from_millis(self.random.below(1500));
        // what was told by then does not matter
        let _ = tokio::time::timeout(patience, question.ask(&self.world.socket)).await;
        Ok(())
    }

    /// Begins a build that takes long, and has it cancelled by another request.
    pub(super) async fn cancel_build(&mut self) -> Outcome<()> {
        let word = self.new_word();
        let tag = format!("{}/never:{word}", self.name);
        let mut question = self.building(&tag, &self.endless(), true);
        let build = format!("{}-{word}", self.name);
        question.target += &format!("&buildid={build}");
        let mut body = question.open(&self.world.socket).await?.into_body();
        let mut told = read_until(&mut body, " ---> Running in ").await?;
        self.asked(Method::POST, &format!("/build/cancel?id={build}"), "", 200)
            .await?;
        let asked = Instant::now();
        let rest = tokio::time::timeout(CANCELLED, body.collect()).await;
        let rest = rest
            .map_err(|_| "a cancelled build goes on")?
            .map_err(|error| error.to_string())?;
        told.extend_from_slice(&rest.to_bytes());
        match messages(&told) {
            Err(told) if told.contains("cancel") => Ok(()),
            told => Err(format!(
                "after {:.0?} a cancelled build told {told:?}",
                asked.elapsed()
            )),
        }
    }

    pub(super) async fn tag(&mut self) -> Outcome<()> {
        let from = self.some_name()?;
        let to = format!("{}/other:{}", self.name, self.random.below(4));
        self.name_also(&from, &to).await
    }

    /// Gives an image another name.
    pub(super) async fn name_also(&mut self, from: &str, to: &str) -> Outcome<()> {
        let (repository, tag) = to.rsplit_once(':').ok_or("names have tags")?;
        let path = format!(
            "/images/{}/tag?repo={}&tag={tag}",
            escaped(from),
            escaped(repository)
        );
        let known = self.here.get(from).cloned();
        let known = known.ok_or("only known images are named")?;
        self.doubt(to, Doubt::Is(known.clone()));
        self.asked(Method::POST, &path, "", 201).await?;
        self.know(to, known);
        Ok(())
    }

    pub(super) async fn remove(&mut self) -> Outcome<()> {
        let name = self.some_name()?;
        self.remove_name(&name).await
    }

    /// Takes a name away.
    pub(super) async fn remove_name(&mut self, name: &str) -> Outcome<()> {
        let path = format!("/images/{}", escaped(name));
        self.doubt(name, Doubt::Gone);
        let answer = self.asked(Method::DELETE, &path, "", 200).await?;
        self.forget(name);
        let told = json(&answer)?;
        match told[0]["Untagged"] == name {
            true => Ok(()),
            false => Err(format!("{name} was removed, and told was {told}")),
        }
    }

    pub(super) async fn inspect(&mut self) -> Outcome<()> {
        let name = self.some_name()?;
        let told = self.here.get(&name).cloned();
        let found = self.learn(&name).await?;
        match told.as_ref() == Some(&found) {
            true => Ok(()),
            false => Err(format!("{name} was told to be {told:?} and is {found:?}")),
        }
    }

    pub(super) async fn history(&mut self) -> Outcome<()> {
        let name = self.some_name()?;
        let answer = self.get(&format!("/images/{}/history", escaped(&name))).await?;
        let told = json(&answer)?;
        match told[0]["Id"] == self.here[&name].id.as_str() {
            true => Ok(()),
            false => Err(format!("the history of {name} begins with {}", told[0])),
        }
    }

    /// Lists by a pattern; all its names of this kind must be there, each with its image.
    pub(super) async fn list_some(&mut self) -> Outcome<()> {
        let filters = format!(r#"{{"reference":["{}/app"]}}"#, self.name);
        let answer = self
            .get(&format!("/images/json?filters={}", escaped(&filters)))
            .await?;
        let images = json(&answer)?;
        let listed = images.as_array().into_iter().flatten();
        let names = listed.flat_map(|image| image["RepoTags"].as_array().into_iter().flatten());
        let mut names: Vec<&str> = names.filter_map(Value::as_str).collect();
        names.sort_unstable();
        let beginning = format!("{}/app:", self.name);
        let told: Vec<&str> = self
            .here
            .keys()
            .filter(|name| name.starts_with(&beginning))
            .map(String::as_str)
            .collect();
        match names == told {
            true => Ok(()),
            false => Err(format!("{told:?} were told, {names:?} are listed")),
        }
    }

    /// Asks and hangs up in the middle of the answer.
    pub(super) async fn leave_early(&mut self, path: &str) -> Outcome<()> {
        let question = Question::new(Method::GET, path);
        let answer = question.open(&self.world.socket).await?;
        if answer.status() != 200 {
            return Err(format!("GET {path}: {}", answer.status()));
        }
        let mut body = answer.into_body();
        for _ in 0..self.random.below(3) {
            // the end may come first
            let _ = body.frame().await;
        }
        Ok(())
    }

    /// Prunes images; whether it was done, or another prune was running.
    pub(super) async fn prune(&mut self, query: &str) -> Outcome<bool> {
        self.prune_at(&format!("/images/prune{query}")).await
    }

    async fn prune_at(&mut self, path: &str) -> Outcome<bool> {
        let answer = self.ask(Question::new(Method::POST, path)).await?;
        match answer.status {
            200 => Ok(true),
            409 => {
                self.world.tally().prunes_refused += 1;
                Ok(false)
            }
            status => Err(format!(
                "POST {path}: {status} {}",
                String::from_utf8_lossy(&answer.body)
            )),
        }
    }

    /// Removes all images that have its label, with their names.
    pub(super) async fn prune_own(&mut self) -> Outcome<()> {
        let filters = format!(r#"{{"dangling":["false"],"label":["{OWNER}={}"]}}"#, self.name);
        let own = self.here.iter().filter(|(_, known)| known.is_own);
        let own: Vec<String> = own.map(|(name, _)| name.clone()).collect();
        for name in &own {
            self.doubt(name, Doubt::Gone);
        }
        if self.prune(&format!("?filters={}", escaped(&filters))).await? {
            for name in &own {
                self.forget(name);
            }
        }
        Ok(())
    }

    pub(super) async fn prune_cache(&mut self) -> Outcome<()> {
        let query = match self.random.below(4) {
            0 => "all=1",
            1 => "filters=%7B%22unused-for%22%3A%5B%225s%22%5D%7D",
            _ => "keep-storage=20000000",
        };
        self.prune_at(&format!("/build/prune?{query}")).await.map(drop)
    }

    /// Listens, names an image, and must hear of it.
    pub(super) async fn listen(&mut self) -> Outcome<()> {
        let filters = r#"{"type":["image"],"event":["tag"]}"#;
        let path = format!("/events?filters={}", escaped(filters));
        let answer = Question::new(Method::GET, path).open(&self.world.socket).await?;
        let word = self.new_word();
        let name = format!("{}/heard:{word}", self.name);
        let from = self.some_name()?;
        self.name_also(&from, &name).await?;
        read_until(&mut answer.into_body(), &format!(r#""name":"{name}""#)).await?;
        self.remove_name(&name).await
    }

    pub(super) async fn usage(&mut self) -> Outcome<()> {
        let answer = self.get("/system/df").await?;
        match json(&answer)?["Images"].is_array() {
            true => Ok(()),
            false => Err("the usage lists no images".to_owned()),
        }
    }

    pub(super) async fn look(&mut self) -> Outcome<()> {
        self.get("/_ping").await?;
        self.get("/version").await?;
        let info = json(&self.get("/info").await?)?;
        match info["Images"].is_u64() {
            true => Ok(()),
            false => Err(format!("the daemon has {} images", info["Images"])),
        }
    }

    /// Asks for what is not there, or cannot be.
    pub(super) async fn mistake(&mut self) -> Outcome<()> {
        let missing = format!("/images/{}%2Fnowhere", self.name);
        let (method, path, status) = match self.random.below(6) {
            0 => (Method::GET, format!("{missing}/json"), 404),
            1 => (Method::DELETE, missing, 404),
            2 => (Method::GET, "/images/json?filters=x".to_owned(), 400),
            3 => (Method::POST, format!("{missing}/tag?repo=x"), 404),
            4 => (Method::GET, "/nowhere".to_owned(), 404),
            _ => (Method::POST, "/build?t=Upper".to_owned(), 400),
        };
        self.asked(method, &path, "", status).await.map(drop)
    }
}

/// Reads until a text came; gives all that was read.
async fn read_until(body: &mut Incoming, text: &str) -> Outcome<Vec<u8>> {
    let mut told = Vec::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| error.to_string())?;
            told.extend_from_slice(&frame.into_data().unwrap_or_else(|_| Bytes::new()));
            if String::from_utf8_lossy(&told).contains(text) {
                return Ok(());
            }
        }
        Err(format!("the answer ended without {text:?}"))
    };
    let read = tokio::time::timeout(SOON, reading).await;
    match read.unwrap_or_else(|_| Err(format!("{text:?} did not come in {} s", SOON.as_secs()))) {
        Ok(()) => Ok(told),
        Err(why) => Err(format!("{why}: {}", String::from_utf8_lossy(&told))),
    }
}
