//! What the checks of a Dockerfile find before any step is done.

use std::collections::{BTreeMap, BTreeSet};

use mica_dockerfile::Dockerfile;
use mica_dockerfile::ignore::IgnorePatterns;
use mica_dockerfile::lint::{self, Checks, Facts, Warning};
use mica_oci::{Platform, Reference};
use mica_store::Store;

use crate::options::Options;
use crate::plan::{Base, Plan};

/// What is known of a build when its Dockerfile is checked.
pub(crate) struct Known<'a> {
    pub(crate) store: &'a Store,
    pub(crate) options: &'a Options,
    pub(crate) ignore: Option<&'a IgnorePatterns>,
}

impl Known<'_> {
    /// Checks `dockerfile`. Of base images only those are known that are in the store.
    pub(crate) fn find(&self, dockerfile: &Dockerfile, plan: &Plan<'_>, checks: Checks) -> Vec<Warning> {
        let order = plan.order.iter();
        let bases: BTreeMap<usize, lint::Base> = order
            .filter_map(|stage| Some((*stage, self.base(plan, *stage)?)))
            .collect();
        let facts = Facts {
            checks,
            build_args: &self.options.build_args,
            target_platform: &plan.platform.to_string(),
            build_platform: &Platform::host().to_string(),
            target: self.options.target.as_deref().filter(|target| !target.is_empty()),
            stages: Some(&plan.order),
            bases,
            ignore: self.ignore,
        };
        lint::check(dockerfile, &facts)
    }

    /// The image a stage is based on, if it is here, for the right platform, and does nothing of its own in the stage.
    fn base(&self, plan: &Plan<'_>, stage: usize) -> Option<lint::Base> {
        let Base::Image { name, platform } = plan.bases.get(stage)? else {
            return None;
        };
        let wanted = platform.as_ref().unwrap_or(&plan.platform);
        let reference = name.parse::<Reference>().ok()?;
        // whatever keeps the store from being read will be told by the step that needs it
        let id = self.store.resolve(&reference).ok().flatten()?;
        let image = self.store.image(&id).ok().flatten()?;
        let config = image.config;
        if (&config.os, &config.architecture) != (&wanted.os, &wanted.architecture)
            || config.config.on_build.iter().flatten().next().is_some()
        {
            return None;
        }
        let variables = config.config.env.iter().flatten().map(|text| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        });
        Some(lint::Base {
            variables: variables.collect(),
            platform: Some(format!("{}/{}", config.os, config.architecture)),
            has_shell: config.config.shell.is_some(),
        })
    }
}

/// What a build fails with whose Dockerfile says that findings are errors, in docker's words.
pub(crate) fn violation(found: &[Warning]) -> String {
    let rules: BTreeSet<&str> = found.iter().map(|warning| warning.rule.name()).collect();
    let rules: Vec<&str> = rules.into_iter().collect();
    format!("lint violation found for rules: {}", rules.join(", "))
}
