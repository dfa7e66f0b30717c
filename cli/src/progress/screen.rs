//! A build as rows on a terminal that change.

use std::collections::BTreeSet;

use jiff::Timestamp;
use mica_api::{CANCELED, VertexStatus};

use crate::canvas::{Row, Window};
use crate::progress::palette::Palette;
use crate::progress::trace::{Piece, Trace, name, numbers, seconds};
use crate::row::{columns, cut};

/// What every row but the first begins with.
const START: &str = " => ";
/// With fewer columns for a name, nothing is right-aligned any more.
const NARROWEST: usize = 12;
/// The rows that output may take: a step's lines.
const TAIL_ROWS: usize = 6;

/// One thing that is done.
struct Job {
    text: String,
    status: Option<String>,
    seconds: Option<f64>,
    color: Option<String>,
    is_running: bool,
    tail: Vec<String>,
}

/// The rows that show a build `now`, by the clock of who tells it. Where the window is not high enough, what runs goes first
/// and then what ended last; `all` rows are for the end, when nothing is drawn over any more.
pub(crate) fn rows(trace: &Trace, palette: &Palette, now: Timestamp, window: Window, all: bool) -> Vec<Row> {
    let mut rows = vec![Row::from(header(trace, now, all))];
    let mut jobs: Vec<Job> = trace
        .begun()
        .flat_map(|piece| jobs(piece, palette, now))
        .collect();
    let mut missing = 0;
    if all {
        jobs.iter_mut().for_each(|job| job.tail.clear());
    } else {
        let room = window.height().saturating_sub(rows.len());
        missing = limit(&mut jobs, room);
    }
    for job in jobs {
        rows.push(Row {
            text: text(&job, window.width()),
            color: job.color,
        });
        let tail = job.tail.iter().map(|line| Row {
            text: format!(" => => # {line}"),
            color: palette.faint.clone(),
        });
        rows.extend(tail);
    }
    if missing > 0 {
        rows.push(Row::from(format!(" … {missing} more")));
    }
    rows
}

fn header(trace: &Trace, now: Timestamp, all: bool) -> String {
    let (ended, count) = trace.count();
    let time = trace.first.map_or(0.0, |begun| seconds(begun, now));
    let is_whole = || trace.begun().all(|piece| piece.error.is_empty());
    let finished = match all && ended == count && count > 0 && is_whole() {
        true => " FINISHED",
        false => "",
    };
    format!("[+] Building {time:.1}s ({ended}/{count}){finished}")
}

fn jobs(piece: &Piece, palette: &Palette, now: Timestamp) -> Vec<Job> {
    let Some(started) = piece.started else {
        return Vec::new();
    };
    let is_canceled = piece.error.ends_with(CANCELED);
    let (word, color) = if is_canceled {
        ("CANCELED ", &palette.cancel)
    } else if !piece.error.is_empty() {
        ("ERROR ", &palette.error)
    } else if piece.cached {
        ("CACHED ", &palette.done)
    } else {
        ("", &palette.done)
    };
    let own = Job {
        text: format!("{word}{}", piece.name),
        status: None,
        seconds: Some(seconds(started, piece.completed.unwrap_or(now))),
        color: piece.completed.and_then(|_| color.clone()),
        is_running: piece.is_running(),
        tail: match piece.is_running() {
            true => piece.tail.lines().collect(),
            false => Vec::new(),
        },
    };
    let parts = piece.parts.iter().map(|part| part_job(part, piece, palette, now));
    let warnings = piece.warnings.iter().map(|warning| Job {
        text: format!("WARN: {warning}"),
        status: None,
        seconds: None,
        color: palette.warning.clone(),
        is_running: false,
        tail: Vec::new(),
    });
    [own].into_iter().chain(parts).chain(warnings).collect()
}

fn part_job(part: &VertexStatus, piece: &Piece, palette: &Palette, now: Timestamp) -> Job {
    let end = part.completed.or(piece.completed);
    Job {
        text: format!("=> {}", name(&part.id)),
        status: numbers(part),
        seconds: part.started.map(|started| seconds(started, end.unwrap_or(now))),
        color: end.and_then(|_| palette.done.clone()),
        is_running: end.is_none(),
        tail: Vec::new(),
    }
}

/// Leaves what finds room; gives how much is left out. Output is shown where there is room for it besides all that runs.
fn limit(jobs: &mut Vec<Job>, room: usize) -> usize {
    let running = jobs.iter().filter(|job| job.is_running).count();
    // a row says how much is left out
    let mut free = room.saturating_sub(running + 1);
    for job in jobs.iter_mut().filter(|job| !job.tail.is_empty()) {
        if job.tail.len() > free.min(TAIL_ROWS) {
            let excess = job.tail.len() - free.min(TAIL_ROWS);
            job.tail.drain(..excess);
        }
        free -= job.tail.len();
    }
    let tails: usize = jobs.iter().map(|job| job.tail.len()).sum();
    let room = room.saturating_sub(tails);
    if jobs.len() <= room {
        return 0;
    }
    let is_told = room > 0;
    let room = room.saturating_sub(1);
    let mut places: Vec<usize> = (0..jobs.len()).collect();
    let count = jobs.len();
    places.sort_by_key(|place| match jobs[*place].is_running {
        true => (false, *place),
        // what ended last goes first
        false => (true, count - *place),
    });
    places.truncate(room);
    let kept: BTreeSet<usize> = places.into_iter().collect();
    let mut place = 0;
    jobs.retain(|_| {
        place += 1;
        kept.contains(&(place - 1))
    });
    match is_told {
        true => count - jobs.len(),
        false => 0,
    }
}

/// A row: the text as far as there is room, how far it is, and on the right how long it took.
fn text(job: &Job, width: usize) -> String {
    let timer = match job.seconds {
        // less is noise
        Some(seconds) if seconds < 0.05 => " 0.0s".to_owned(),
        Some(seconds) => format!(" {seconds:.1}s"),
        None => String::new(),
    };
    let left = width.saturating_sub(START.len() + timer.len());
    if left < NARROWEST {
        return format!("{START}{}", job.text);
    }
    let status = job
        .status
        .as_ref()
        .map(|status| format!(" {status}"))
        .filter(|status| left >= status.len() + NARROWEST)
        .unwrap_or_default();
    let left = left - status.len();
    let shown = cut(&job.text, left);
    let pad = " ".repeat(left - columns(shown));
    format!("{START}{shown}{status}{pad}{timer}")
}

#[cfg(test)]
mod tests;
