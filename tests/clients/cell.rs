//! A cell of the table: what came of one verb by one client.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

/// What came of a verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The client did it and got what it should.
    Passed,
    /// The client has no such thing, and why.
    Cannot(String),
    /// What went wrong.
    Failed(String),
}

thread_local! {
    /// Where the verb that this thread does went wrong; nothing while it does none.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on a panic within a verb is not printed where it happens, but told of with the verb.
pub(crate) fn catch_places() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let within = PLACE.with_borrow_mut(|place| {
            let place = place.as_mut()?;
            *place = info.location().map(ToString::to_string).unwrap_or_default();
            Some(())
        });
        if within.is_none() {
            usual(info);
        }
    }));
}

/// What stands for a program that does the verbs, with its verbs.
pub(crate) const PROGRAM: &str = "the program";

/// What a client did, verb by verb.
#[derive(Debug, Default)]
pub(crate) struct Cells(Vec<(String, Outcome)>);

impl Cells {
    /// Does a verb; it failed if this panics.
    pub(crate) fn check(&mut self, verb: &str, work: impl FnOnce()) {
        PLACE.set(Some(String::new()));
        let done = catch_unwind(AssertUnwindSafe(work));
        let place = PLACE.take().unwrap_or_default();
        let outcome = match done {
            Ok(()) => Outcome::Passed,
            Err(payload) => Outcome::Failed(format!("{place}: {}", text_of(payload.as_ref()))),
        };
        self.0.push((verb.to_owned(), outcome));
    }

    /// Says why this client does not do these.
    pub(crate) fn cannot(&mut self, why: &str, verbs: &[&str]) {
        for verb in verbs {
            self.0.push(((*verb).to_owned(), Outcome::Cannot(why.to_owned())));
        }
    }

    /// Takes what a program of another language printed: a line of JSON for every verb, `{"verb", "passed"|"cannot"|"failed"}`.
    ///
    /// # Errors
    /// A line that is none of these.
    pub(crate) fn told(&mut self, stdout: &str) -> Result<(), String> {
        for line in stdout.lines() {
            let value: Value =
                serde_json::from_str(line).map_err(|error| format!("{error} in the line {line:?}"))?;
            let text = |key: &str| value[key].as_str().map(str::to_owned);
            let verb = text("verb").ok_or_else(|| format!("no verb in {line:?}"))?;
            let outcome = match (text("cannot"), text("failed"), &value["passed"]) {
                (Some(why), None, Value::Null) => Outcome::Cannot(why),
                (None, Some(why), Value::Null) => Outcome::Failed(why),
                (None, None, Value::Bool(true)) => Outcome::Passed,
                _ => return Err(format!("no outcome in {line:?}")),
            };
            self.0.push((verb, outcome));
        }
        Ok(())
    }

    /// What came of a verb. None may be left out, told twice or told of under another name.
    pub(crate) fn of(&self, verb: &str) -> Outcome {
        let mut found = self.0.iter().filter(|(name, _)| name == verb);
        match (found.next(), found.next()) {
            (Some((_, outcome)), None) => outcome.clone(),
            (None, _) => Outcome::Failed("the client did not come to it".to_owned()),
            (Some(_), Some(_)) => Outcome::Failed("it is told of twice".to_owned()),
        }
    }

    /// What is told of beside these verbs and did not pass; or is no verb at all, and passed.
    pub(crate) fn strange(&self, verbs: &[&str]) -> Option<String> {
        let strange = |(name, outcome): &&(String, Outcome)| match (verbs.contains(&name.as_str()), outcome) {
            (true, _) => false,
            (false, Outcome::Passed) => name != PROGRAM,
            (false, _) => true,
        };
        let (name, outcome) = self.0.iter().find(strange)?;
        Some(format!("{name}, which is no verb: {outcome:?}"))
    }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}
