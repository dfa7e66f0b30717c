//! The daemon itself, and keeping house.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, EventMessage};
use bollard::query_parameters::{
    CreateContainerOptions, EventsOptionsBuilder, ListContainersOptions, ListImagesOptions,
    ListNetworksOptions, ListVolumesOptions, PruneBuildOptionsBuilder, PruneImagesOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt;

use crate::cell::Cells;
use crate::with_bollard::{Bollard, PATIENCE, has, refused};

impl Bollard<'_> {
    pub(crate) fn system(&self, cells: &mut Cells) {
        cells.check("ping", || {
            assert_eq!(self.wait(self.docker.ping()).unwrap(), "OK");
        });
        cells.check("version", || {
            let told = self.wait(self.docker.version()).unwrap();
            assert_eq!(told.api_version.as_deref(), Some("1.51"));
            assert_eq!(told.os.as_deref(), Some("linux"));
            let docker = Docker::connect_with_unix(&self.world.daemon.host(), PATIENCE, API_DEFAULT_VERSION);
            let docker = self.wait(docker.unwrap().negotiate_version()).unwrap();
            assert_eq!(docker.client_version().to_string(), "1.51");
        });
        cells.check("info", || {
            let told = self.wait(self.docker.info()).unwrap();
            let all = ListImagesOptions {
                all: true,
                ..ListImagesOptions::default()
            };
            let images = self.wait(self.docker.list_images(Some(all))).unwrap();
            assert_eq!(told.images, Some(images.len() as i64));
            assert_eq!(told.os_type.as_deref(), Some("linux"));
        });
        cells.cannot(
            "it sends an account with each request and never logs in",
            &["log in", "log in with a wrong password"],
        );
    }

    pub(crate) fn housekeeping(&self, cells: &mut Cells) {
        cells.check("disk usage", || {
            self.small("weighed:1");
            let told = self.wait(self.docker.df(None)).unwrap();
            let images = told.image_usage.expect("it reads nothing else");
            assert!(images.total_count.unwrap() > 0 && images.total_size.unwrap() > 0);
            assert!(told.build_cache_usage.is_some() && told.container_usage.is_some());
        });
        cells.check("events", || self.events());
        cells.check("run, which is refused", || {
            self.small("runs:1");
            let body = ContainerCreateBody {
                image: Some("runs:1".to_owned()),
                ..ContainerCreateBody::default()
            };
            let options = None::<CreateContainerOptions>;
            refused(
                self.wait(self.docker.create_container(options, body)),
                501,
                "does not run containers",
            );
        });
        cells.check("list containers, networks and volumes", || {
            let containers = self.wait(self.docker.list_containers(None::<ListContainersOptions>));
            assert!(containers.unwrap().is_empty());
            let networks = self.wait(self.docker.list_networks(None::<ListNetworksOptions>));
            assert!(networks.unwrap().is_empty());
            let volumes = self.wait(self.docker.list_volumes(None::<ListVolumesOptions>));
            assert!(volumes.unwrap().volumes.unwrap_or_default().is_empty());
        });
        cells.check("prune images", || self.prune_images());
        cells.check("prune builds", || {
            let filters = HashMap::from([("until", vec!["1h"])]);
            let options = PruneBuildOptionsBuilder::default().all(true).filters(&filters);
            let told = self.wait(self.docker.prune_build(Some(options.build()))).unwrap();
            assert_eq!(told.caches_deleted, Some(Vec::new()));
            let options = PruneBuildOptionsBuilder::default().all(true).build();
            let told = self.wait(self.docker.prune_build(Some(options))).unwrap();
            assert!(!told.caches_deleted.unwrap().is_empty());
        });
        cells.cannot("it prunes one kind at a time", &["prune everything"]);
    }

    fn events(&self) {
        let filters = HashMap::from([("type", vec!["image"]), ("label", vec!["for=heard:1"])]);
        let listening = self
            .docker
            .events(Some(EventsOptionsBuilder::default().filters(&filters).build()));
        let mut listening = Box::pin(listening);
        // the first look at it sends the request
        let nothing =
            self.wait(async { tokio::time::timeout(Duration::from_secs(1), listening.next()).await });
        assert!(nothing.is_err(), "{nothing:?}");
        let id = self.small("heard:1");
        self.tag("heard:1", "heard", "2").unwrap();
        self.remove("heard:2", false).unwrap();
        self.remove("heard:1", false).unwrap();
        let mut heard: Vec<EventMessage> = Vec::new();
        while heard.last().and_then(|event| event.action.as_deref()) != Some("delete") {
            let next =
                self.wait(async { tokio::time::timeout(Duration::from_secs(60), listening.next()).await });
            heard.push(next.expect("no delete came").unwrap().unwrap());
        }
        let actions: Vec<_> = heard.iter().filter_map(|event| event.action.as_deref()).collect();
        for action in ["tag", "untag", "delete"] {
            assert!(actions.contains(&action), "{actions:?}");
        }
        let actors = heard
            .iter()
            .map(|event| event.actor.as_ref().unwrap().id.as_deref());
        assert!(actors.into_iter().all(|actor| actor == Some(&id)), "{heard:?}");
        let filters = HashMap::from([("event", vec!["delete"])]);
        let past = EventsOptionsBuilder::default()
            .since("1")
            .until("2000000000")
            .filters(&filters);
        let mut past = Box::pin(self.docker.events(Some(past.build())));
        let first = self.wait(past.next()).unwrap().unwrap();
        assert_eq!(first.action.as_deref(), Some("delete"));
    }

    fn prune_images(&self) {
        let left = self.small("left:1");
        self.small("left:2");
        self.tag("left:2", "left", "1").unwrap();
        let pruned = |dangling: &str, label: &str| {
            let filters = HashMap::from([("dangling", vec![dangling]), ("label", vec![label])]);
            let options = PruneImagesOptionsBuilder::default().filters(&filters).build();
            let told = self.wait(self.docker.prune_images(Some(options))).unwrap();
            format!("{:?}", told.images_deleted.unwrap_or_default())
        };
        has(&pruned("true", "for=left:1"), &left);
        has(&pruned("false", "for=left:2"), "left:1");
        refused(
            self.wait(self.docker.inspect_image("left:2")),
            404,
            "No such image",
        );
    }
}
