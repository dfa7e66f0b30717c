//! To registries and from them, and searching.

use crate::cell::Cells;
use crate::docker::{Docker, has};
use crate::world::{PASSWORD, USER};

impl Docker<'_> {
    pub(crate) fn registries(&self, cells: &mut Cells) {
        let base = self.world.base("1");
        cells.check("pull", || {
            self.run(&["rmi", "-f", &base]);
            let told = self.ok(&["pull", &base]);
            has(&told, "Status: Downloaded newer image");
            has(
                &self.ok(&["pull", &base]),
                &format!("Status: Image is up to date for {base}"),
            );
            assert_eq!(self.ok(&["pull", "-q", &base]), base);
        });
        cells.check("pull by digest", || {
            let by_digest = self.ok(&["inspect", "-f", "{{index .RepoDigests 0}}", &base]);
            self.ok(&["rmi", "-f", &base]);
            has(&self.ok(&["pull", &by_digest]), "Status: Downloaded newer image");
            let listed = self.ok(&["images", "--digests", "--format", "{{.Digest}}"]);
            has(&listed, by_digest.split('@').nth(1).unwrap());
            self.ok(&["rmi", &by_digest]);
        });
        cells.check("pull all tags", || {
            let repository = base.trim_end_matches(":1");
            self.ok(&["pull", "-a", repository]);
            let mut tags: Vec<_> = self
                .ok(&["images", "--format", "{{.Tag}}", repository])
                .lines()
                .map(str::to_owned)
                .collect();
            tags.sort();
            assert_eq!(tags, ["1", "2"]);
        });
        cells.check("pull for another platform", || {
            let many = self.world.places.plain.name("seed/many:1");
            for platform in ["linux/arm64", "linux/amd64"] {
                self.ok(&["pull", "-q", "--platform", platform, &many]);
                let got = self.ok(&["inspect", "-f", "{{.Os}}/{{.Architecture}}", &many]);
                assert_eq!(got, platform);
            }
            self.refused(
                &["pull", "--platform", "linux/s390x", &many],
                1,
                "no matching manifest",
            );
            self.refused(&["pull", "--platform", "nonsense", &many], 1, "nonsense");
        });
        cells.check("pull what is not there", || {
            self.refused(&["pull", &self.world.base("none")], 1, "not found");
            self.refused(&["pull", &self.world.own("nothing")], 1, "not found");
        });
        cells.check("push", || {
            let name = self.world.own("pushed:1");
            self.small(&name);
            has(&self.ok(&["push", &name]), "1: digest: sha256:");
            let digests = self.ok(&["inspect", "-f", "{{.RepoDigests}}", &name]);
            has(&digests, name.trim_end_matches(":1"));
            self.refused(&["push", &self.world.own("pushed:none")], 1, "tag does not exist");
            self.refused(
                &["push", &self.world.own("nothing:1")],
                1,
                "does not exist locally",
            );
        });
        cells.check("push all tags", || {
            let names = ["a", "b"].map(|tag| self.world.own(&format!("many:{tag}")));
            names.iter().for_each(|name| drop(self.small(name)));
            let told = self.ok(&["push", "-a", names[0].trim_end_matches(":a")]);
            has(&told, "a: digest: sha256:");
            has(&told, "b: digest: sha256:");
            self.ok(&["rmi", &names[0], &names[1]]);
            names.iter().for_each(|name| drop(self.ok(&["pull", name])));
        });
        let (locked, name) = (self.world.places.locked.address(), self.world.locked("own:1"));
        cells.check("push without the password", || {
            self.small(&name);
            let ran = self.run(&["push", &name]);
            assert_eq!(ran.code, 1, "{}", ran.stdout);
            assert!(
                ran.stderr.contains("unauthorized") || ran.stderr.contains("no basic auth credentials"),
                "{}",
                ran.stderr
            );
        });
        cells.check("push and pull with a password", || {
            self.fed(&["login", "-u", USER, "--password-stdin", &locked], PASSWORD);
            self.small(&name);
            self.ok(&["push", &name]);
            self.ok(&["rmi", &name]);
            self.ok(&["pull", &name]);
            self.ok(&["logout", &locked]);
            assert_eq!(self.run(&["pull", &name]).code, 1);
        });
        cells.cannot("`docker manifest` asks the registry itself", &["ask a registry"]);
        cells.check("search", || {
            let term = format!("{}/busybox", self.world.places.web.address());
            let found = self.ok(&["search", "--format", "{{.Name}} {{.StarCount}}", &term]);
            has(&found, "busybox 3000");
            has(&found, "team/busybox 2");
            let popular = self.ok(&["search", "--filter", "stars=100", "--format", "{{.Name}}", &term]);
            assert!(!popular.contains("team/"), "{popular}");
        });
    }
}
