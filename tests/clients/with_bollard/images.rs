//! Images that are here: shown, named, moved in archives, removed.

use std::collections::HashMap;

use bollard::body_full;
use bollard::errors::Error;
use bollard::models::ImageSummary;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptions, ImportImageOptionsBuilder, ListImagesOptions,
    ListImagesOptionsBuilder,
};
use bytes::Bytes;
use futures_util::stream;

use crate::cell::Cells;
use crate::with_bollard::{Bollard, has, refused, text};

impl Bollard<'_> {
    fn list(&self, filters: &[(&str, &str)]) -> Result<Vec<ImageSummary>, Error> {
        let filters: HashMap<_, _> = filters.iter().map(|(key, value)| (*key, vec![*value])).collect();
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        self.wait(self.docker.list_images(Some(options)))
    }

    fn ids(&self, filters: &[(&str, &str)]) -> Vec<String> {
        let images = self.list(filters).unwrap();
        images.into_iter().map(|image| image.id).collect()
    }

    fn load(&self, archive: Vec<u8>, options: ImportImageOptions) -> Result<String, Error> {
        let lines = self.all(self.docker.import_image(options, body_full(archive.into()), None))?;
        Ok(text(&lines))
    }

    fn save(&self, name: &str) -> Result<Vec<u8>, Error> {
        Ok(self.all(self.docker.export_image(name))?.concat())
    }

    pub(crate) fn images(&self, cells: &mut Cells) {
        cells.check("list", || {
            let id = self.small("listed:1");
            let images = self
                .wait(self.docker.list_images(None::<ListImagesOptions>))
                .unwrap();
            let image = images.iter().find(|image| image.id == id).unwrap();
            assert_eq!(image.repo_tags, ["listed:1"]);
            assert_eq!(image.labels["for"], "listed:1");
        });
        cells.check("list with filters", || {
            let (older, newer) = (self.imported("older"), self.imported("newer"));
            assert_eq!(self.ids(&[("label", "for=older")]), [older.as_str()]);
            assert_eq!(self.ids(&[("reference", "new*")]), [newer.as_str()]);
            assert!(
                self.ids(&[("dangling", "true"), ("label", "for=older")])
                    .is_empty()
            );
            assert!(self.ids(&[("since", "older")]).contains(&newer));
            assert!(self.ids(&[("before", "newer")]).contains(&older));
            refused(self.list(&[("nonsense", "x")]), 400, "nonsense");
        });
        cells.check("inspect", || {
            let id = self.small("seen:1");
            for name in ["seen:1", &id, &id[7..], &id[7..19]] {
                let image = self.wait(self.docker.inspect_image(name)).unwrap();
                assert_eq!(image.id.as_deref(), Some(id.as_str()));
                assert_eq!(image.root_fs.unwrap().layers.unwrap().len(), 1);
            }
        });
        cells.check("inspect what is not there", || {
            let none = self.wait(self.docker.inspect_image("nothing"));
            refused(none, 404, "No such image: nothing:latest");
        });
        cells.check("history", || {
            let id = self.small("told:0");
            let told = self.wait(self.docker.image_history("told:0")).unwrap();
            assert_eq!(told[0].id, id);
            assert!(
                told.iter()
                    .any(|step| step.created_by.contains("COPY file /file"))
            );
        });
        cells.check("tag", || {
            let id = self.small("tagged:1");
            self.tag("tagged:1", "localhost:1/some/where", "3").unwrap();
            assert_eq!(self.id("localhost:1/some/where:3"), id);
            refused(self.tag("nothing", "x", "1"), 404, "No such image");
            refused(self.tag(&id, "Tagged", "1"), 400, "must be lowercase");
        });
        self.archives_of_images(cells);
        cells.check("import", || {
            let id = self.imported("imported");
            let image = self.wait(self.docker.inspect_image("imported")).unwrap();
            assert_eq!(image.id, Some(id));
            assert_eq!(image.config.unwrap().labels.unwrap()["for"], "imported");
        });
        cells.check("import from an address", || {
            let address = format!("http://{}/root.tar", self.world.places.web.address());
            let options = CreateImageOptionsBuilder::default()
                .from_src(&address)
                .repo("imported")
                .tag("url");
            let lines = self
                .all(self.docker.create_image(Some(options.build()), None, None))
                .unwrap();
            assert_eq!(lines.last().unwrap().status, Some(self.id("imported:url")));
        });
        cells.check("remove", || {
            let id = self.small("removed:1");
            self.tag("removed:1", "removed", "2").unwrap();
            assert_eq!(self.remove("removed:2", false).unwrap(), ["Untagged removed:2"]);
            let gone = self.remove("removed:1", false).unwrap();
            assert_eq!(
                gone[..2],
                ["Untagged removed:1".to_owned(), format!("Deleted {id}")]
            );
            refused(self.remove("removed:1", false), 404, "No such image");
        });
        cells.check("remove by ID, several and forced", || {
            let id = self.small("several:1");
            self.remove(&id[7..19], false).unwrap();
            let id = self.small("several:2");
            self.tag("several:2", "several", "3").unwrap();
            self.remove(&id, true).unwrap();
            assert!(self.ids(&[("reference", "several")]).is_empty());
        });
        cells.check("remove what has two names", || {
            let id = self.small("two:1");
            self.tag("two:1", "names", "1").unwrap();
            refused(self.remove(&id, false), 409, "must be forced");
        });
    }

    fn archives_of_images(&self, cells: &mut Cells) {
        cells.check("save", || {
            let id = self.small("saved:1");
            has(&String::from_utf8_lossy(&self.save("saved:1").unwrap()), &id[7..]);
            refused(self.save("nothing"), 404, "nothing");
        });
        cells.check("save several", || {
            let names = ["both:1", "both:2"];
            names.iter().for_each(|name| drop(self.small(name)));
            let archive = self.all(self.docker.export_images(&names)).unwrap().concat();
            names
                .iter()
                .for_each(|name| drop(self.remove(name, false).unwrap()));
            let told = self.load(archive, ImportImageOptions::default()).unwrap();
            names
                .iter()
                .for_each(|name| has(&told, &format!("Loaded image: {name}")));
        });
        cells.check("load", || {
            let id = self.small("loaded:1");
            let archive = self.save("loaded:1").unwrap();
            self.remove("loaded:1", false).unwrap();
            let quiet = ImportImageOptionsBuilder::default().quiet(true).build();
            has(
                &self.load(archive.clone(), quiet).unwrap(),
                "Loaded image: loaded:1",
            );
            assert_eq!(self.id("loaded:1"), id);
            // in pieces of unknown number
            let pieces: Vec<_> = archive.chunks(1000).map(Bytes::copy_from_slice).collect();
            let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
            let options = ImportImageOptions::default();
            let lines = self
                .all(self.docker.import_image_stream(options, pieces, None))
                .unwrap();
            has(&text(&lines), "Loaded image: loaded:1");
        });
        cells.check("load what is no image", || {
            let garbage = fs_err::read(self.world.arg("garbage.tar")).unwrap();
            assert!(self.load(garbage, ImportImageOptions::default()).is_err());
        });
    }
}
