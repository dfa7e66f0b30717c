//! The manners of the registries there are, as a table.

use std::time::Duration;

use crate::registry::options::{Door, Options, Personality};

/// Where an upload's session is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locations {
    Absolute,
    Relative,
    /// Relative, with a query that must be kept.
    WithState,
}

/// What becomes of a blob that is to be taken over from another repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mounts {
    Work,
    /// A session is opened in its place, always.
    Never,
    /// This status, if the other repository is not one of its own.
    Refused(u16),
}

/// Which scopes of a question for a token count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    All,
    Last,
}

/// What one registry does in its own way.
#[derive(Debug, Clone)]
pub(crate) struct Quirks {
    pub(crate) door: Door,
    pub(crate) token_path: &'static str,
    pub(crate) token_life: Duration,
    pub(crate) heard: Heard,
    /// The token endpoint itself says no, and tokens allow all that was asked for.
    pub(crate) judges_at_token: bool,
    /// A 401 says what it wants; else only `/v2/` does.
    pub(crate) challenges: bool,
    pub(crate) refuses_post: Option<u16>,
    /// Blobs come from another port by redirect.
    pub(crate) redirects: bool,
    pub(crate) locations: Locations,
    pub(crate) mounts: Mounts,
    /// A mount needs a token for the repository it is from.
    pub(crate) mount_needs_source: bool,
    /// PUT with a body, PATCH.
    pub(crate) puts: bool,
    pub(crate) patches: bool,
    pub(crate) patch_status: u16,
    /// The most bytes of a PATCH with a range.
    pub(crate) ranged_limit: Option<u64>,
    pub(crate) uploads_at_once: Option<usize>,
    pub(crate) repositories_must_exist: bool,
    pub(crate) strict_manifests: bool,
    pub(crate) manifest_location: bool,
    pub(crate) page: usize,
    /// Code and message for a manifest that is not there.
    pub(crate) manifest_unknown: (&'static str, &'static str),
    pub(crate) rate_headers: bool,
}

impl Quirks {
    pub(crate) fn of(options: &Options) -> Self {
        let mut quirks = Self::plain();
        quirks.personality(options.personality);
        if options.personality == Personality::Plain && !options.users.is_empty() {
            quirks.door = Door::Bearer;
        }
        quirks.door = options.door.unwrap_or(quirks.door);
        quirks.refuses_post = options.refuses_post.or(quirks.refuses_post);
        quirks.uploads_at_once = options.uploads_at_once.or(quirks.uploads_at_once);
        quirks
    }

    fn plain() -> Self {
        Self {
            door: Door::Open,
            token_path: "/token",
            token_life: Duration::from_secs(300),
            heard: Heard::All,
            judges_at_token: false,
            challenges: true,
            refuses_post: None,
            redirects: false,
            locations: Locations::Relative,
            mounts: Mounts::Work,
            mount_needs_source: true,
            puts: true,
            patches: true,
            patch_status: 202,
            ranged_limit: None,
            uploads_at_once: None,
            repositories_must_exist: false,
            strict_manifests: false,
            manifest_location: true,
            page: 1000,
            manifest_unknown: ("MANIFEST_UNKNOWN", "manifest unknown"),
            rate_headers: false,
        }
    }

    fn personality(&mut self, personality: Personality) {
        self.door = Door::Bearer;
        match personality {
            Personality::Plain => self.door = Door::Open,
            Personality::Ghcr => {
                self.judges_at_token = true;
                self.refuses_post = Some(404);
                self.redirects = true;
                self.locations = Locations::Absolute;
                self.ranged_limit = Some(4 << 20);
                self.uploads_at_once = Some(8);
                self.page = 100;
            }
            Personality::DockerHub => {
                self.locations = Locations::WithState;
                self.mounts = Mounts::Refused(400);
                self.redirects = true;
                self.rate_headers = true;
            }
            Personality::Ecr => {
                self.door = Door::Basic;
                self.mounts = Mounts::Never;
                self.locations = Locations::Absolute;
                self.patch_status = 201;
                self.repositories_must_exist = true;
                self.strict_manifests = true;
                self.manifest_location = false;
            }
            Personality::Gar => {
                self.challenges = false;
                self.refuses_post = Some(404);
                self.patches = false;
                self.mounts = Mounts::Never;
            }
            Personality::Acr => {
                self.token_path = "/oauth2/token";
                self.refuses_post = Some(400);
                self.redirects = true;
                self.locations = Locations::WithState;
            }
            Personality::GitLab => {
                self.heard = Heard::Last;
                self.locations = Locations::WithState;
            }
            Personality::Harbor => {
                self.token_path = "/service/token";
                self.token_life = Duration::from_secs(1800);
                self.mounts = Mounts::Refused(401);
                self.manifest_unknown = ("UNKNOWN", "not found");
            }
            Personality::Quay => {
                self.refuses_post = Some(401);
                self.mounts = Mounts::Refused(404);
                self.puts = false;
                self.locations = Locations::Absolute;
            }
        }
    }
}
