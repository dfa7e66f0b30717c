//! Events of pulls and pushes as docker's lines (engine API contract, sections 2.4 and 2.6).

use mica_api::{Message, ProgressDetail};
use mica_task::{LayerState, TransferEvent};

use crate::routes::images::signed;

/// The width of a drawn bar, in characters.
const BAR: u64 = 50;

/// The lines for an event.
pub(crate) fn messages(event: &TransferEvent) -> Vec<Message> {
    match event {
        TransferEvent::Found {
            repository, which, ..
        } => vec![Message {
            id: Some(which.clone()),
            ..Message::status(format!("Pulling from {}", repository.path()))
        }],
        TransferEvent::Layer { digest, state } => vec![layer(&digest.short(), state)],
        TransferEvent::Note(text) => vec![Message::status(text.clone())],
        TransferEvent::Pulled {
            reference,
            digest,
            is_new,
        } => {
            let name = reference.familiar();
            let status = match is_new {
                true => format!("Status: Downloaded newer image for {name}"),
                false => format!("Status: Image is up to date for {name}"),
            };
            vec![
                Message::status(format!("Digest: {digest}")),
                Message::status(status),
            ]
        }
        TransferEvent::Pushed { tag, digest, size } => {
            let aux = Message {
                progress_detail: Some(ProgressDetail::default()),
                aux: Some(serde_json::json!({ "Tag": tag, "Digest": digest, "Size": size })),
                ..Message::default()
            };
            vec![
                Message::status(format!("{tag}: digest: {digest} size: {size}")),
                aux,
            ]
        }
    }
}

fn layer(id: &str, state: &LayerState) -> Message {
    let (status, numbers) = match state {
        LayerState::Wanted => ("Pulling fs layer".to_owned(), None),
        LayerState::AlreadyHere => ("Already exists".to_owned(), None),
        LayerState::Fetching { current, total } => ("Downloading".to_owned(), Some((*current, Some(*total)))),
        LayerState::Verifying => ("Verifying Checksum".to_owned(), None),
        LayerState::Fetched => ("Download complete".to_owned(), None),
        LayerState::Done => ("Pull complete".to_owned(), None),
        LayerState::Prepared => ("Preparing".to_owned(), None),
        LayerState::Sending { current, total } => ("Pushing".to_owned(), Some((*current, *total))),
        LayerState::Sent => ("Pushed".to_owned(), None),
        LayerState::AlreadyThere => ("Layer already exists".to_owned(), None),
        LayerState::Mounted(from) => (format!("Mounted from {}", from.path()), None),
        LayerState::Left => ("Skipped foreign layer".to_owned(), None),
    };
    let detail = numbers.map_or_else(ProgressDetail::default, |(current, total)| ProgressDetail {
        current: Some(signed(current)),
        total: total.map(signed),
        ..ProgressDetail::default()
    });
    Message {
        id: Some(id.to_owned()),
        progress_detail: Some(detail),
        progress: numbers.map(|(current, total)| bar(current, total)),
        ..Message::status(status)
    }
}

/// The bar as docker draws it.
fn bar(current: u64, total: Option<u64>) -> String {
    let Some(total) = total.filter(|total| *total > 0 && current <= *total) else {
        return bytes(current);
    };
    let done = current * BAR / total;
    let head = if done < BAR { ">" } else { "" };
    let rest = usize::try_from(BAR - done)
        .unwrap_or_default()
        .saturating_sub(head.len());
    let line = "=".repeat(usize::try_from(done).unwrap_or_default());
    format!(
        "[{line}{head}{}]  {}/{}",
        " ".repeat(rest),
        bytes(current),
        bytes(total)
    )
}

/// A number of bytes in decimal units, four digits.
fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while value >= 1000.0 {
        match units.next() {
            Some(next) => {
                value /= 1000.0;
                unit = next;
            }
            None => break,
        }
    }
    let digits = match value {
        value if value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_oci::Digest;

    fn lines(event: &TransferEvent) -> Vec<String> {
        messages(event)
            .iter()
            .map(|message| serde_json::to_string(message).unwrap())
            .collect()
    }

    #[test]
    fn a_pull_is_told_in_docker_s_words() {
        let digest = Digest::of(b"");
        let found = TransferEvent::Found {
            repository: "busybox".parse().unwrap(),
            which: "latest".into(),
            digest,
        };
        assert_eq!(
            lines(&found),
            [r#"{"status":"Pulling from library/busybox","id":"latest"}"#]
        );
        let of = |state| lines(&TransferEvent::Layer { digest, state }).remove(0);
        assert_eq!(
            of(LayerState::Wanted),
            r#"{"status":"Pulling fs layer","id":"e3b0c44298fc","progressDetail":{}}"#
        );
        let fetching = of(LayerState::Fetching {
            current: 500,
            total: 1000,
        });
        let bar = format!("[{}>{}]  500B/1kB", "=".repeat(25), " ".repeat(24));
        assert_eq!(
            fetching,
            format!(
                r#"{{"status":"Downloading","id":"e3b0c44298fc","progressDetail":{{"current":500,"total":1000}},"progress":"{bar}"}}"#
            )
        );
        let pulled = TransferEvent::Pulled {
            reference: "busybox:1".parse().unwrap(),
            digest,
            is_new: true,
        };
        assert_eq!(
            lines(&pulled),
            [
                format!(r#"{{"status":"Digest: {digest}"}}"#),
                r#"{"status":"Status: Downloaded newer image for busybox:1"}"#.to_owned()
            ]
        );
    }

    #[test]
    fn a_push_ends_with_its_digest_twice() {
        let digest = Digest::of(b"");
        let pushed = TransferEvent::Pushed {
            tag: "1".into(),
            digest,
            size: 7,
        };
        assert_eq!(
            lines(&pushed),
            [
                format!(r#"{{"status":"1: digest: {digest} size: 7"}}"#),
                format!(r#"{{"progressDetail":{{}},"aux":{{"Tag":"1","Digest":"{digest}","Size":7}}}}"#)
            ]
        );
    }

    #[test]
    fn numbers_are_short() {
        for (count, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.234kB"),
            (12_345_678, "12.35MB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bar(5, None), "5B");
        assert_eq!(bar(5, Some(5)), format!("[{}]  5B/5B", "=".repeat(50)));
    }
}
