//! `GET /events`: what happened since some time, and what happens, until the client has heard enough.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use jiff::Timestamp;
use mica_engine::{Follower, Happening, Next};
use tokio::sync::mpsc;

use crate::routes::Call;
use crate::wire::event::{Wanted, line};
use crate::wire::query::Query;
use crate::wire::reply::{Failure, JSON, Pieces, Reply, pieces};
use crate::wire::time;

/// How many lines wait for a slow client beside those that HTTP has taken: the feed keeps the others.
const WAITING: usize = 1;
/// The most who may listen at one time, half of the connections there are: a listener stays, and others want to be answered.
const LISTENERS: usize = 512;

/// Answers at once, and then with one object per line, as things happen. The stream ends at the end of the asked time or of the
/// daemon; it breaks when the client is so slow that something was missed, and everything behind it goes when the client goes.
pub(crate) fn follow(call: &Call) -> Result<Reply, Failure> {
    let window = Window::read(&call.query, Timestamp::now())?;
    let wanted = Wanted::of(&call.query, call.version)?;
    let feed = call.daemon.engine.feed();
    if feed.followers() >= LISTENERS {
        return Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{LISTENERS} clients listen to events already"),
        ));
    }
    let follower = match window.is_about_the_past() {
        true => feed.follow_all(),
        false => feed.follow(),
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let telling = Telling {
            wanted,
            sender: &sender,
        };
        tokio::select! {
            biased;
            () = sender.closed() => {}
            () = telling.run(follower, &window) => {}
        }
    });
    let listening = call.daemon.activity.listen();
    Ok(pieces(JSON, Pieces::new(receiver, listening)))
}

/// The time a client asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Window {
    fn read(query: &Query, now: Timestamp) -> Result<Self, Failure> {
        let read = |name: &str| {
            let Some(text) = query.filled(name) else {
                return Ok(None);
            };
            let malformed = || {
                Failure::invalid(format!(
                    "invalid value for {name}: {text:?} is neither seconds since 1970, nor a date and time, nor a duration"
                ))
            };
            time::read(text, now).map(Some).ok_or_else(malformed)
        };
        let window = Self {
            since: read("since")?,
            until: read("until")?,
        };
        if let (Some(since), Some(until)) = (window.since, window.until)
            && until < since
        {
            let text = |name| query.get(name).unwrap_or_default();
            return Err(Failure::invalid(format!(
                "`since` time ({}) cannot be after `until` time ({})",
                text("since"),
                text("until")
            )));
        }
        Ok(window)
    }

    /// Whether what has happened already is asked for: with an end and no beginning, all of it, as docker has it.
    fn is_about_the_past(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    fn holds(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
    }

    /// Waits for its end.
    async fn closed(&self) {
        let Some(until) = self.until else {
            return std::future::pending().await;
        };
        let left = until.duration_since(Timestamp::now());
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
    }
}

/// A stream to one client.
struct Telling<'a> {
    wanted: Wanted,
    sender: &'a mpsc::Sender<io::Result<Bytes>>,
}

/// The stream is at its end.
struct Over;

impl Telling<'_> {
    async fn run(&self, mut follower: Follower, window: &Window) {
        // which of the two it is that ends the stream is all the same
        let _ = self.both(&mut follower, window).await;
    }

    /// The past, and then the present.
    async fn both(&self, follower: &mut Follower, window: &Window) -> Result<(), Over> {
        let closed = window.closed();
        tokio::pin!(closed);
        for _ in 0..follower.behind() {
            let happening = self.heard(follower.next().await).await?;
            if window.holds(happening.time) {
                self.tell(&happening).await?;
            }
        }
        loop {
            let next = tokio::select! {
                // what happened before the end is told even if it is looked at after it
                biased;
                next = follower.next() => next,
                () = &mut closed => return Ok(()),
            };
            let happening = self.heard(next).await?;
            if window.until.is_some_and(|until| until < happening.time) {
                return Ok(());
            }
            self.tell(&happening).await?;
        }
    }

    /// What was heard, if there was something to hear.
    async fn heard(&self, next: Next) -> Result<Arc<Happening>, Over> {
        // a long past of which nothing is wanted must not hold up what else this thread does
        tokio::task::consume_budget().await;
        match next {
            Next::Happening(happening) => Ok(happening),
            Next::Ended => Err(Over),
            Next::Missed(count) => {
                self.send(Err(io::Error::other(format!(
                    "the client is too slow: it missed {count} events"
                ))))
                .await?;
                Err(Over)
            }
        }
    }

    async fn tell(&self, happening: &Happening) -> Result<(), Over> {
        match self.wanted.message(happening) {
            Some(message) => self.send(line(&message).map_err(io::Error::from)).await,
            None => Ok(()),
        }
    }

    async fn send(&self, piece: io::Result<Bytes>) -> Result<(), Over> {
        self.sender.send(piece).await.map_err(|_| Over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(query: &str) -> Result<Window, Failure> {
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        Window::read(&Query::parse(query).unwrap(), now)
    }

    #[test]
    fn a_window_is_read() {
        let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        for (query, since, until) in [
            ("", None, None),
            ("since=&until=", None, None),
            ("since=10m", time("2026-01-01T23:50:00Z"), None),
            (
                "since=1767225600.5&until=2026-01-01T00:00:00.500000001Z",
                time("2026-01-01T00:00:00.5Z"),
                time("2026-01-01T00:00:00.500000001Z"),
            ),
            ("until=-1h", None, time("2026-01-02T01:00:00Z")),
        ] {
            assert_eq!(window(query).unwrap(), Window { since, until }, "{query}");
        }
        assert!(!window("").unwrap().is_about_the_past());
        assert!(window("until=1h").unwrap().is_about_the_past());
        let both_ends = window("since=2h&until=1h").unwrap();
        for (text, held) in [
            ("2026-01-01T21:59:59Z", false),
            ("2026-01-01T22:00:00Z", true),
            ("2026-01-01T23:00:00Z", true),
            ("2026-01-01T23:00:00.000000001Z", false),
        ] {
            assert_eq!(both_ends.holds(text.parse().unwrap()), held, "{text}");
        }
    }

    #[test]
    fn a_time_that_makes_no_sense_is_named() {
        for (query, word) in [
            ("since=soon", "invalid value for since: \"soon\""),
            ("until=1x", "invalid value for until: \"1x\""),
            (
                "since=1h&until=2h",
                "`since` time (1h) cannot be after `until` time (2h)",
            ),
        ] {
            let refused = window(query).unwrap_err();
            assert!(refused.message().contains(word), "{}", refused.message());
        }
    }
}
