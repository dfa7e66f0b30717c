//! The daemon itself, and keeping house.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::cell::Cells;
use crate::docker::{Docker, has};
use crate::world::{PASSWORD, USER};

impl Docker<'_> {
    pub(crate) fn system(&self, cells: &mut Cells) {
        cells.cannot("every command begins with one, none is for it alone", &["ping"]);
        cells.check("version", || {
            has(&self.ok(&["version"]), "Server:");
            let server = "{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}}";
            assert_eq!(self.ok(&["version", "-f", server]), "1.51 1.22 linux");
        });
        cells.check("info", || {
            has(&self.ok(&["info"]), "Docker Root Dir:");
            let count = self.ok(&["images", "-aq", "--no-trunc"]).lines().count();
            assert_eq!(
                self.ok(&["info", "-f", "{{.Images}} {{.OSType}}"]),
                format!("{count} linux")
            );
        });
        let locked = self.world.places.locked.address();
        cells.check("log in with a wrong password", || {
            self.refused(&["login", "-u", USER, "-p", "wrong", &locked], 1, "unauthorized");
        });
        cells.check("log in", || {
            let told = self.fed(&["login", "-u", USER, "--password-stdin", &locked], PASSWORD);
            has(&told, "Login Succeeded");
            has(&self.ok(&["logout", &locked]), "Removing login credentials");
        });
    }

    pub(crate) fn housekeeping(&self, cells: &mut Cells) {
        cells.check("disk usage", || self.disk_usage());
        cells.check("events", || self.events());
        cells.check("run, which is refused", || {
            self.small("runs:1");
            self.refused(&["run", "--rm", "runs:1"], 125, "does not run containers");
        });
        cells.check("list containers, networks and volumes", || {
            for args in [
                ["ps", "-aq"],
                ["network", "ls"],
                ["volume", "ls"],
                ["plugin", "ls"],
            ] {
                // nothing but the line of titles
                let listed = self.ok(&args);
                assert!(listed.lines().all(|line| line.contains("NAME")), "{listed}");
            }
        });
        cells.check("prune images", || self.prune_images());
        cells.check("prune builds", || {
            has(&self.ok(&["builder", "prune", "-f"]), "Total");
            let told = self.ok(&["builder", "prune", "-af", "--filter", "until=1h"]);
            has(&told, "Total reclaimed space: 0B");
            self.small("kept:1");
            has(&self.ok(&["builder", "prune", "-af"]), "Total reclaimed space:");
            self.ok(&["inspect", "kept:1"]);
        });
        cells.check("prune everything", || {
            let dangling = self.small("pruned:1");
            self.ok(&["rmi", "--no-prune", "pruned:1"]);
            self.small("pruned:2");
            self.ok(&["system", "prune", "-f"]);
            assert_eq!(self.run(&["inspect", &dangling]).code, 1);
            self.ok(&["inspect", "pruned:2"]);
            has(
                &self.ok(&["system", "prune", "-af", "--volumes"]),
                "Total reclaimed space:",
            );
            assert_eq!(self.ok(&["images", "-aq"]), "");
        });
    }

    fn disk_usage(&self) {
        self.small("weighed:1");
        let count = self.ok(&["images", "-q", "--no-trunc"]).lines().count();
        let told = self.ok(&["system", "df", "--format", "{{.Type}}: {{.TotalCount}}"]);
        let images = self.ok(&["images", "-q", "--no-trunc"]);
        let mut ids: Vec<_> = images.lines().collect();
        ids.sort_unstable();
        ids.dedup();
        assert!(ids.len() <= count);
        has(&told, &format!("Images: {}", ids.len()));
        has(&told, "Build Cache: ");
        let told = self.ok(&["system", "df", "-v"]);
        has(&told, "weighed");
        has(&told, "Build cache usage:");
    }

    fn events(&self) {
        let name = self.world.own("told:1");
        let id = self.small(&name);
        self.ok(&["tag", &name, "told:2"]);
        self.ok(&["push", &name]);
        self.ok(&["rmi", "told:2", &name]);
        self.ok(&["pull", &name]);
        // the second that goes on is not over yet
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let until = (now.as_secs() + 1).to_string();
        let since = ["events", "--since", "10m", "--until", &until];
        let lines = "{{.Type}} {{.Action}} {{.ID}}";
        let all = self.ok(&[&since[..], &["--format", lines]].concat());
        for action in ["tag", "untag", "delete"] {
            has(&all, &format!("image {action} {id}"));
        }
        for action in ["push", "pull"] {
            has(&all, &format!("image {action} {name}"));
        }
        let some = self.ok(&[
            &since[..],
            &["--filter", "event=delete", "--format", "{{json .}}"],
        ]
        .concat());
        has(&some, &id);
        assert!(
            some.lines().all(|line| line.contains("\"Action\":\"delete\"")),
            "{some}"
        );
        let none = self.ok(&[&since[..], &["--filter", "type=container"]].concat());
        assert_eq!(none, "");
    }

    fn prune_images(&self) {
        let dangling = self.small("left:1");
        self.small("left:2");
        self.ok(&["tag", "left:2", "left:1"]);
        assert_eq!(
            self.ok(&[
                "images",
                "-q",
                "--no-trunc",
                "-f",
                "dangling=true",
                "-f",
                "label=for=left:1"
            ]),
            dangling
        );
        has(
            &self.ok(&["image", "prune", "-f", "--filter", "label=for=nobody"]),
            "Total reclaimed space: 0B",
        );
        has(
            &self.ok(&["image", "prune", "-f"]),
            &format!("deleted: {dangling}"),
        );
        self.ok(&["image", "inspect", "left:1"]);
        has(
            &self.ok(&["image", "prune", "-af", "--filter", "label=for=left:2"]),
            "untagged: left:1",
        );
        assert_eq!(self.run(&["inspect", "left:2"]).code, 1);
    }
}
