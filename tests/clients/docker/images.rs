//! Images that are here: shown, named, moved in archives, removed.

use crate::cell::Cells;
use crate::docker::{Docker, has};

impl Docker<'_> {
    pub(crate) fn images(&self, cells: &mut Cells) {
        cells.check("list", || {
            let id = self.small("listed:1");
            let short = &id["sha256:".len()..][..12];
            has(&self.ok(&["images"]), short);
            has(&self.ok(&["image", "ls", "--no-trunc"]), &id);
            assert_eq!(self.ok(&["images", "-q", "listed"]), short);
            let row = self.ok(&[
                "images",
                "--format",
                "{{.Repository}}:{{.Tag}} {{.ID}}",
                "listed:1",
            ]);
            assert_eq!(row, format!("listed:1 {short}"));
        });
        cells.check("list with filters", || self.list_with_filters());
        cells.check("inspect", || {
            let id = self.small("seen:1");
            for name in ["seen:1", "seen", &id, &id[7..], &id[7..19]] {
                let known = name != "seen";
                assert_eq!(self.run(&["image", "inspect", name]).code == 0, known, "{name}");
            }
            let shown = "{{.Os}} {{.RootFS.Type}} {{len .RootFS.Layers}} {{.Config.Labels}} {{.RepoTags}}";
            assert_eq!(
                self.ok(&["inspect", "-f", shown, "seen:1"]),
                "linux layers 1 map[for:seen:1] [seen:1]"
            );
            let size = self.ok(&["inspect", "--type", "image", "-f", "{{.Size}}", "seen:1"]);
            assert!(size.parse::<u64>().unwrap() > 4, "{size}");
        });
        cells.check("inspect what is not there", || {
            self.refused(&["inspect", "nothing"], 1, "No such object: nothing");
            self.refused(&["image", "inspect", "nothing"], 1, "No such image: nothing");
        });
        cells.check("history", || {
            self.small("told:0");
            let told = self.ok(&[
                "history",
                "--no-trunc",
                "--format",
                "{{.CreatedBy}} {{.Size}}",
                "told:0",
            ]);
            has(&told, "COPY file /file");
            assert_eq!(
                self.ok(&["history", "-q", "--no-trunc", "told:0"])
                    .lines()
                    .next()
                    .unwrap(),
                self.id("told:0")
            );
        });
        cells.check("tag", || {
            let id = self.small("tagged:1");
            for name in ["tagged:2", "localhost:1/some/where:3"] {
                self.ok(&["tag", "tagged:1", name]);
                assert_eq!(self.id(name), id);
            }
            self.ok(&["image", "tag", &id, "tagged:4"]);
            self.refused(
                &["tag", "nothing", "tagged:5"],
                1,
                "No such image: nothing:latest",
            );
            self.refused(&["tag", "tagged:1", "Tagged:5"], 1, "must be lowercase");
        });
        cells.check("save", || {
            let id = self.small("saved:1");
            let archive = self.world.scratch("saved.tar");
            self.ok(&["save", "-o", &archive, "saved:1"]);
            self.refused(&["save", "-o", &archive, "nothing"], 1, "nothing");
            let mut command = self.command(&["save", "saved:1"]);
            let piped = command.output().unwrap();
            assert!(piped.status.success());
            has(&String::from_utf8_lossy(&piped.stdout), &id[7..]);
        });
        cells.check("load", || {
            let (id, archive) = (self.small("loaded:1"), self.world.scratch("loaded.tar"));
            self.ok(&["save", "-o", &archive, "loaded:1"]);
            self.ok(&["rmi", "loaded:1"]);
            has(&self.ok(&["load", "-i", &archive]), "Loaded image: loaded:1");
            assert_eq!(self.id("loaded:1"), id);
            has(
                &self.ok(&["load", "-q", "-i", &archive]),
                "Loaded image: loaded:1",
            );
        });
        cells.check("save several", || self.save_several());
        cells.check("load what is no image", || {
            let ran = self.run(&["load", "-i", &self.world.arg("garbage.tar")]);
            assert_eq!(ran.code, 1, "{}", ran.stdout);
            let ran = self.run(&["load", "-i", &self.world.arg("root.tar")]);
            assert_eq!(ran.code, 1, "{}", ran.stdout);
            has(&ran.stderr, "manifest.json");
        });
        cells.check("import", || {
            let root = self.world.arg("root.tar");
            let changes = ["-c", "CMD [\"sh\"]", "-c", "ENV A=b", "-m", "from a tar"];
            let id = self.ok(&[&["import"], &changes[..], &[&root, "imported:1"]].concat());
            assert_eq!(self.id("imported:1"), id);
            let shown = self.ok(&[
                "inspect",
                "-f",
                "{{.Config.Cmd}} {{.Config.Env}} {{.Comment}}",
                &id,
            ]);
            assert_eq!(shown, "[sh] [A=b] from a tar");
        });
        cells.check("import from an address", || {
            let address = format!("http://{}/root.tar", self.world.places.web.address());
            let told = self.ok(&["import", &address, "imported:2"]);
            has(&told, &self.id("imported:2"));
        });
        cells.check("remove", || {
            let id = self.small("removed:1");
            self.ok(&["tag", "removed:1", "removed:2"]);
            assert_eq!(self.ok(&["rmi", "removed:2"]), "Untagged: removed:2");
            has(
                &self.ok(&["image", "rm", "removed:1"]),
                &format!("Untagged: removed:1\nDeleted: {id}"),
            );
            self.refused(&["rmi", "removed:1"], 1, "No such image: removed:1");
            self.ok(&["rmi", "-f", "removed:1"]);
        });
        cells.check("remove by ID, several and forced", || {
            let ids = ["several:1", "several:2"].map(|name| self.small(name));
            self.small("several:3");
            has(
                &self.ok(&["rmi", &ids[0][7..19]]),
                &format!("Deleted: {}", ids[0]),
            );
            let told = self.ok(&["rmi", &ids[1], "several:3"]);
            has(&told, "Untagged: several:2");
            has(&told, "Untagged: several:3");
            let id = self.small("one:1");
            self.ok(&["tag", "one:1", "other:1"]);
            let told = self.ok(&["rmi", "-f", &id]);
            has(&told, "Untagged: one:1");
            has(&told, "Untagged: other:1");
        });
        cells.check("remove what has two names", || {
            let id = self.small("two:1");
            self.ok(&["tag", "two:1", "names:1"]);
            self.refused(&["rmi", &id], 1, "must be forced");
        });
    }

    fn list_with_filters(&self) {
        let [older, newer] = ["older:1", "newer:1"].map(|name| {
            let label = format!("LABEL for={name}");
            self.ok(&["import", "-c", &label, &self.world.arg("root.tar"), name])
        });
        let listed = |filters: &[&str]| {
            let flags = filters.iter().flat_map(|filter| ["-f", filter]);
            let args: Vec<_> = ["images", "-q", "--no-trunc"].into_iter().chain(flags).collect();
            self.ok(&args)
        };
        assert_eq!(listed(&["label=for=older:1"]), older);
        assert_eq!(listed(&["reference=newer:*"]), newer);
        assert_eq!(listed(&["reference=new*", "label=for"]), newer);
        has(&listed(&["since=older:1"]), &newer);
        has(&listed(&["before=newer:1"]), &older);
        assert_eq!(listed(&["dangling=true", "label=for=older:1"]), "");
        assert_eq!(listed(&["dangling=false", "label=for=older:1"]), older);
        self.refused(&["images", "-f", "nonsense=1"], 1, "nonsense");
        self.refused(&["images", "-f", "since=nothing"], 1, "No such image: nothing");
    }

    fn save_several(&self) {
        let ids = ["both:1", "both:2"].map(|name| self.small(name));
        let archive = self.world.scratch("both.tar");
        self.ok(&["save", "-o", &archive, "both:1", "both:2"]);
        self.ok(&["rmi", "both:1", "both:2"]);
        let told = self.ok(&["load", "-i", &archive]);
        has(&told, "Loaded image: both:1");
        has(&told, "Loaded image: both:2");
        assert_eq!([self.id("both:1"), self.id("both:2")], ids);
        // all tags of a name
        self.ok(&["save", "-o", &archive, "both"]);
        self.ok(&["rmi", "both:1", "both:2"]);
        self.ok(&["load", "-i", &archive]);
        assert_eq!([self.id("both:1"), self.id("both:2")], ids);
    }
}
