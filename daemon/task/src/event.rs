//! What a piece of work tells of itself while it goes on.

use mica_oci::{BuildId, ImageId, Reference};

use crate::place::{Chore, Finding, PlannedStep, StagePlace};
use crate::transfer::TransferEvent;

/// Names a step within one piece of work.
pub type StepId = u32;

/// Where a line of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Something that happened in a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// These steps will be done, unless one before them fails.
    Planned {
        /// Those that have a place in their stage.
        steps: Vec<PlannedStep>,
    },
    /// Something beside the steps begins.
    Begun {
        /// What.
        chore: Chore,
    },
    /// Bytes moved for something beside the steps.
    Moved {
        /// For what.
        chore: Chore,
        /// What moved.
        what: String,
        /// Bytes so far.
        current: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// Something beside the steps ended.
    Ended {
        /// What.
        chore: Chore,
        /// Why it failed, if it did; empty for what was stopped.
        failure: Option<String>,
    },
    /// A step begins: its inputs are being looked at.
    Started {
        /// The step.
        step: StepId,
        /// Its number among all steps of the build, from 1, and how many there are; `None` for work that stands in no Dockerfile.
        position: Option<(u32, u32)>,
        /// The instruction as it is written, or what is being done.
        name: String,
        /// Where it stands in its stage, if it does more than change the image's settings.
        place: Option<StagePlace>,
    },
    /// The step was not done before: now it is.
    Executing {
        /// The step.
        step: StepId,
        /// Whether docker's classic builder would have made a container for it (RUN and metadata, not COPY or ADD).
        container: bool,
    },
    /// A process of the step wrote something.
    Log {
        /// The step.
        step: StepId,
        /// To where.
        stream: Stream,
        /// What, as it came.
        bytes: Vec<u8>,
    },
    /// Bytes moved.
    Progress {
        /// The step.
        step: StepId,
        /// What is moved.
        what: String,
        /// Bytes so far.
        current: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// An image that the work needs is on its way.
    Transfer {
        /// Its name as it is asked for.
        image: String,
        /// What happened.
        event: TransferEvent,
    },
    /// The base image has triggers that are run now.
    Triggers {
        /// How many.
        count: usize,
    },
    /// What is being done or waited for, or why.
    Note {
        /// The step it is about; `None` for the work as a whole.
        step: Option<StepId>,
        /// The text, without a trailing line end.
        text: String,
    },
    /// Something the user should know.
    Warning {
        /// The text, without a trailing line end.
        text: String,
        /// The line of the Dockerfile.
        line: Option<u32>,
        /// More about it, where it comes of the Dockerfile's checks.
        finding: Option<Box<Finding>>,
    },
    /// The step is done.
    Done {
        /// The step.
        step: StepId,
        /// Whether an earlier result was taken.
        cached: bool,
        /// Twelve hexadecimal digits naming the state after the step; empty for the empty image.
        state: String,
    },
    /// The step failed; the error itself is the result of the whole work.
    Failed {
        /// The step.
        step: StepId,
        /// Why, in BuildKit's words where it has some; empty for a step that was stopped.
        reason: String,
    },
    /// The lines of a Dockerfile where the work failed.
    Excerpt {
        /// The lines, each with its end.
        text: String,
    },
    /// The work failed, and what it told can be looked at later.
    Kept {
        /// By what name.
        build: BuildId,
        /// Whether the step that failed can be entered.
        enterable: bool,
    },
    /// The image is in the store.
    Built {
        /// The image.
        image: ImageId,
    },
    /// The image has a name.
    Tagged {
        /// The name.
        reference: Reference,
    },
}
