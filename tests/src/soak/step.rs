//! What a client can do, and how often it does it.

use crate::soak::client::{Client, Outcome};

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Build,
    DropBuild,
    CancelBuild,
    Push,
    DropPush,
    Pull,
    DropPull,
    Tag,
    Remove,
    Inspect,
    List,
    ListSome,
    DropList,
    History,
    Save,
    DropSave,
    Load,
    DropLoad,
    Import,
    Prune,
    PruneOwn,
    PruneCache,
    Listen,
    Usage,
    Look,
    Mistake,
}

/// Everything, and how many times of a hundred or so.
pub(super) const STEPS: [(Step, u32); 26] = [
    (Step::Build, 12),
    (Step::DropBuild, 4),
    (Step::CancelBuild, 3),
    (Step::Push, 6),
    (Step::DropPush, 2),
    (Step::Pull, 6),
    (Step::DropPull, 2),
    (Step::Tag, 8),
    (Step::Remove, 8),
    (Step::Inspect, 8),
    (Step::List, 4),
    (Step::ListSome, 4),
    (Step::DropList, 2),
    (Step::History, 3),
    (Step::Save, 3),
    (Step::DropSave, 3),
    (Step::Load, 5),
    (Step::DropLoad, 3),
    (Step::Import, 3),
    (Step::Prune, 3),
    (Step::PruneOwn, 1),
    (Step::PruneCache, 2),
    (Step::Listen, 4),
    (Step::Usage, 2),
    (Step::Look, 3),
    (Step::Mistake, 4),
];

impl Step {
    /// Its name in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::DropBuild => "build, left",
            Self::CancelBuild => "build, cancelled",
            Self::Push => "push",
            Self::DropPush => "push, left",
            Self::Pull => "pull",
            Self::DropPull => "pull, left",
            Self::Tag => "tag",
            Self::Remove => "remove",
            Self::Inspect => "inspect",
            Self::List => "list",
            Self::ListSome => "list, filtered",
            Self::DropList => "list, left",
            Self::History => "history",
            Self::Save => "save",
            Self::DropSave => "save, left",
            Self::Load => "load",
            Self::DropLoad => "load, left",
            Self::Import => "import",
            Self::Prune => "prune",
            Self::PruneOwn => "prune, own",
            Self::PruneCache => "prune, cache",
            Self::Listen => "events",
            Self::Usage => "disk usage",
            Self::Look => "ping and info",
            Self::Mistake => "mistake",
        }
    }
}

impl Client {
    /// Does it; fails if the daemon does not do its part.
    pub(super) async fn act(&mut self, step: Step) -> Outcome<()> {
        match step {
            Step::Build => self.build().await,
            Step::DropBuild => self.drop_build().await,
            Step::CancelBuild => self.cancel_build().await,
            Step::Push => self.push().await,
            Step::DropPush => self.drop_push().await,
            Step::Pull => self.pull().await,
            Step::DropPull => self.drop_pull().await,
            Step::Tag => self.tag().await,
            Step::Remove => self.remove().await,
            Step::Inspect => self.inspect().await,
            Step::List => self.compare_list().await,
            Step::ListSome => self.list_some().await,
            Step::DropList => self.leave_early("/images/json?all=1").await,
            Step::History => self.history().await,
            Step::Save => self.save().await,
            Step::DropSave => self.drop_save().await,
            Step::Load => self.load().await,
            Step::DropLoad => self.drop_load().await,
            Step::Import => self.import().await,
            Step::Prune => self.prune("").await.map(drop),
            Step::PruneOwn => self.prune_own().await,
            Step::PruneCache => self.prune_cache().await,
            Step::Listen => self.listen().await,
            Step::Usage => self.usage().await,
            Step::Look => self.look().await,
            Step::Mistake => self.mistake().await,
        }
    }
}
