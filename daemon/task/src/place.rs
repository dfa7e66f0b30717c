//! Where the steps of a build stand in their stages, and what is done beside them.

use mica_oci::Platform;

use crate::event::StepId;

/// Where an instruction that does something (FROM an image, RUN, COPY, ADD, WORKDIR) stands among those of its stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagePlace {
    /// Of a build for several platforms: for which one the stage is carried out.
    pub platform: Option<StagePlatform>,
    /// The stage's number in the Dockerfile, from 0.
    pub stage: u32,
    /// What the stage is called; `None` in a Dockerfile of only one.
    pub name: Option<String>,
    /// The instruction's number, from 1.
    pub number: u32,
    /// How many such instructions the stage has.
    pub count: u32,
    /// Of a FROM: the image that it names, as it is asked for.
    pub base: Option<String>,
}

/// What a stage of a build for several platforms is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StagePlatform {
    /// What the stage itself is for: that of its base.
    pub own: Platform,
    /// What the image is for that it is carried out for.
    pub target: Platform,
}

/// A step that will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// The step.
    pub step: StepId,
    /// The instruction as it is written.
    pub name: String,
    /// Where it stands.
    pub place: StagePlace,
}

/// What is done beside the steps of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Chore {
    /// The Dockerfile is read.
    Definition {
        /// Its name.
        file: String,
    },
    /// The ignore file is read.
    Ignore,
    /// The build context is received, fetched or looked at.
    Context,
    /// An image is looked up, and pulled if it is not here.
    Image {
        /// Its name as it is asked for.
        name: String,
    },
    /// What a cache elsewhere knows is read.
    CacheImport {
        /// Its name as it is asked for.
        name: String,
    },
    /// Layers that a cache elsewhere knows are fetched.
    CacheLayers {
        /// The cache's name as it is asked for.
        name: String,
    },
    /// What was done is written to a cache elsewhere.
    CacheExport,
    /// What is in the image is listed.
    Sbom {
        /// The image that does it.
        generator: String,
    },
    /// The image that was built is kept.
    Export,
    /// The files of the image are sent to the client.
    Deliver {
        /// Whether as one tar.
        tar: bool,
    },
}

/// What a finding of the Dockerfile's checks says beside its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The Dockerfile's name.
    pub file: String,
    /// Its first and its last line, from 1.
    pub lines: (u32, u32),
    /// What the rule is about.
    pub detail: String,
    /// Where it is explained.
    pub url: String,
}
