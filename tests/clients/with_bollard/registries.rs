//! To registries and from them, and searching.

use std::collections::HashMap;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::PushImageInfo;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListImagesOptionsBuilder, PushImageOptionsBuilder, SearchImagesOptionsBuilder,
};

use crate::cell::Cells;
use crate::with_bollard::{Bollard, broken, refused};

impl Bollard<'_> {
    fn push(
        &self,
        name: &str,
        tag: &str,
        account: Option<DockerCredentials>,
    ) -> Result<Vec<PushImageInfo>, Error> {
        let options = (!tag.is_empty()).then(|| PushImageOptionsBuilder::default().tag(tag).build());
        self.all(self.docker.push_image(name, options, account))
    }

    fn repo_digests(&self, name: &str) -> Vec<String> {
        let image = self.wait(self.docker.inspect_image(name)).unwrap();
        image.repo_digests.unwrap()
    }

    pub(crate) fn registries(&self, cells: &mut Cells) {
        let tagged = self.world.base("1");
        let base = tagged.trim_end_matches(":1");
        cells.check("pull", || {
            self.remove(&tagged, true).unwrap();
            let lines = self.pull(base, "1", None).unwrap();
            assert_eq!(lines[0].id.as_deref(), Some("1"));
            let last = lines.last().unwrap().status.as_deref();
            assert_eq!(
                last,
                Some(format!("Status: Downloaded newer image for {tagged}").as_str())
            );
        });
        cells.check("pull by digest", || {
            let digests = self.repo_digests(&tagged);
            let by_digest = digests.iter().find(|name| name.starts_with(base)).unwrap();
            self.remove(&tagged, true).unwrap();
            self.pull(base, by_digest.split_once('@').unwrap().1, None)
                .unwrap();
            assert!(self.repo_digests(by_digest).contains(by_digest));
        });
        cells.check("pull all tags", || {
            self.pull(base, "", None).unwrap();
            let filters = HashMap::from([("reference", vec![base])]);
            let options = ListImagesOptionsBuilder::default().filters(&filters).build();
            let images = self.wait(self.docker.list_images(Some(options))).unwrap();
            let mut names: Vec<_> = images.into_iter().flat_map(|image| image.repo_tags).collect();
            names.sort();
            assert_eq!(names, [self.world.base("1"), self.world.base("2")]);
        });
        cells.check("pull for another platform", || {
            let many = self.world.places.plain.name("seed/many");
            let pulled = |platform: &str| {
                let options = CreateImageOptionsBuilder::default()
                    .from_image(&many)
                    .tag("1")
                    .platform(platform);
                self.all(self.docker.create_image(Some(options.build()), None, None))
            };
            for platform in ["linux/arm64", "linux/amd64"] {
                pulled(platform).unwrap();
                let image = self
                    .wait(self.docker.inspect_image(&format!("{many}:1")))
                    .unwrap();
                assert_eq!(format!("linux/{}", image.architecture.unwrap()), platform);
            }
            broken(pulled("linux/s390x"), "no matching manifest");
            refused(pulled("nonsense"), 400, "nonsense");
        });
        cells.check("pull what is not there", || {
            refused(self.pull(base, "none", None), 404, "not found");
            refused(self.pull(&self.world.own("nothing"), "1", None), 404, "not found");
        });
        let pushed = self.world.own("pushed");
        cells.check("push", || {
            let name = format!("{pushed}:1");
            self.small(&name);
            let lines = self.push(&pushed, "1", None).unwrap();
            assert!(
                lines[0]
                    .status
                    .as_deref()
                    .unwrap()
                    .starts_with("The push refers to repository")
            );
            assert!(self.repo_digests(&name)[0].starts_with(&pushed));
            broken(self.push(&pushed, "none", None), "does not exist");
        });
        cells.check("push all tags", || {
            let many = self.world.own("many");
            let names = ["a", "b"].map(|tag| format!("{many}:{tag}"));
            names.iter().for_each(|name| drop(self.small(name)));
            self.push(&many, "", None).unwrap();
            names
                .iter()
                .for_each(|name| drop(self.remove(name, false).unwrap()));
            self.pull(&many, "a", None).unwrap();
            self.pull(&many, "b", None).unwrap();
        });
        let locked = self.world.locked("own");
        cells.check("push without the password", || {
            self.small(&format!("{locked}:1"));
            match self.push(&locked, "1", None).unwrap_err() {
                Error::DockerStreamError { error } => {
                    assert!(
                        error.contains("unauthorized") || error.contains("no basic auth"),
                        "{error}"
                    );
                }
                other => panic!("{other:?}"),
            }
        });
        cells.check("push and pull with a password", || {
            let name = format!("{locked}:1");
            self.small(&name);
            self.push(&locked, "1", Some(self.account())).unwrap();
            self.remove(&name, false).unwrap();
            self.pull(&locked, "1", Some(self.account())).unwrap();
            self.id(&name);
        });
        cells.check("ask a registry", || {
            let told = self
                .wait(self.docker.inspect_registry_image(&tagged, None))
                .unwrap();
            assert!(told.descriptor.digest.unwrap().starts_with("sha256:"));
            assert_eq!(told.platforms[0].os.as_deref(), Some("linux"));
            let name = self.world.base("none");
            let none = self.docker.inspect_registry_image(&name, None);
            refused(self.wait(none), 404, "");
        });
        cells.check("search", || {
            let term = format!("{}/busybox", self.world.places.web.address());
            let options = SearchImagesOptionsBuilder::default().term(&term).limit(5).build();
            let found = self.wait(self.docker.search_images(options)).unwrap();
            assert_eq!(found[0].name.as_deref(), Some("busybox"));
            assert_eq!((found.len(), found[0].star_count), (2, Some(3000)));
        });
    }
}
