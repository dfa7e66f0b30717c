//! Filters of builds as BuildKit's clients write them: `status==error,ref~=text` and `startedAt>1h`, those of one text all at
//! once, of several texts any.

use std::time::Duration;

use jiff::Timestamp;
use mica_buildkit::message::control::BuildHistoryRecord;
use mica_buildkit::message::solver;
use tonic::{Code, Status};

/// Which builds are meant; all if there is no text.
#[derive(Debug)]
pub(super) struct Filters(Vec<Vec<Term>>);

#[derive(Debug)]
enum Term {
    Text(Field, Test, String),
    /// Seconds since 1970, or of a duration.
    Time(Moment, Order, f64),
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Reference,
    Status,
    Repository,
}

#[derive(Debug, Clone, Copy)]
enum Test {
    Is,
    IsNot,
    /// BuildKit's are regular expressions; here a text is itself.
    Has,
}

#[derive(Debug, Clone, Copy)]
enum Moment {
    Started,
    Completed,
    Duration,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    NotBelow,
    NotAbove,
    Above,
    Below,
}

impl Filters {
    pub(super) fn read(texts: &[String]) -> Result<Self, Status> {
        let terms = |text: &String| {
            let parts = text.split(',').map(|part| part.trim().trim_matches('"'));
            parts.filter(|part| !part.is_empty()).map(Term::read).collect()
        };
        texts.iter().map(terms).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn admit(&self, record: &BuildHistoryRecord) -> bool {
        let all = |terms: &Vec<Term>| terms.iter().all(|term| term.holds(record));
        self.0.is_empty() || self.0.iter().any(all)
    }
}

impl Term {
    fn read(text: &str) -> Result<Self, Status> {
        let bad = || Status::invalid_argument(format!("invalid filter {text:?}"));
        let tests = [("==", Test::Is), ("!=", Test::IsNot), ("~=", Test::Has)];
        for (sign, test) in tests {
            if let Some((field, value)) = text.split_once(sign) {
                let field = match field {
                    "ref" => Field::Reference,
                    "status" => Field::Status,
                    "repository" => Field::Repository,
                    _ => return Err(bad()),
                };
                return Ok(Self::Text(field, test, value.to_owned()));
            }
        }
        let orders = [
            (">=", Order::NotBelow),
            ("<=", Order::NotAbove),
            (">", Order::Above),
            ("<", Order::Below),
        ];
        let found = orders
            .iter()
            .find_map(|(sign, order)| text.split_once(sign).map(|parts| (parts, *order)));
        let ((field, value), order) = found.ok_or_else(bad)?;
        let span = duration(value).map(|span| span.as_secs_f64());
        let moment = |span: Option<f64>| match span {
            Some(ago) => Ok(now() - ago),
            None => match value.parse::<Timestamp>() {
                Ok(time) => Ok(seconds(time.as_second(), time.subsec_nanosecond())),
                Err(_) => Err(bad()),
            },
        };
        Ok(match field {
            "startedAt" => Self::Time(Moment::Started, order, moment(span)?),
            "completedAt" => Self::Time(Moment::Completed, order, moment(span)?),
            "duration" => Self::Time(Moment::Duration, order, span.ok_or_else(bad)?),
            _ => return Err(bad()),
        })
    }

    fn holds(&self, record: &BuildHistoryRecord) -> bool {
        match self {
            Self::Text(field, test, value) => {
                let own = field.of(record);
                match test {
                    Test::Is => own == *value,
                    Test::IsNot => own != *value,
                    Test::Has => own.contains(value.as_str()),
                }
            }
            Self::Time(moment, order, value) => {
                let at = |time: &Option<solver::Timestamp>| {
                    time.map_or(0.0, |time| seconds(time.seconds, time.nanos))
                };
                let own = match moment {
                    Moment::Started => at(&record.created_at),
                    Moment::Completed => at(&record.completed_at),
                    Moment::Duration => at(&record.completed_at) - at(&record.created_at),
                };
                match order {
                    Order::NotBelow => own >= *value,
                    Order::NotAbove => own <= *value,
                    Order::Above => own > *value,
                    Order::Below => own < *value,
                }
            }
        }
    }
}

impl Field {
    fn of(self, record: &BuildHistoryRecord) -> String {
        match self {
            Self::Reference => record.reference.clone(),
            Self::Repository => {
                let attr = |name: &str| record.frontend_attrs.get(name).cloned();
                attr("vcs:source").or_else(|| attr("context")).unwrap_or_default()
            }
            Self::Status => match (&record.completed_at, &record.error) {
                (None, _) => "running",
                (Some(_), None) => "completed",
                (Some(_), Some(error)) if error.code == i32::from(Code::Cancelled) => "canceled",
                (Some(_), Some(_)) => "error",
            }
            .to_owned(),
        }
    }
}

fn now() -> f64 {
    let now = Timestamp::now();
    seconds(now.as_second(), now.subsec_nanosecond())
}

#[allow(
    clippy::cast_precision_loss,
    reason = "times of day to the microsecond are enough to compare"
)]
fn seconds(whole: i64, nanos: i32) -> f64 {
    whole as f64 + f64::from(nanos) / 1e9
}

/// A span as Go writes it: `1h30m`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() || text.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, behind) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let units = [
            ("ms", 0.001),
            ("us", 1e-6),
            ("ns", 1e-9),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ];
        let (unit, factor) = units.iter().find(|(unit, _)| behind.starts_with(unit))?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * factor).ok()?)?;
        rest = &behind[unit.len()..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_buildkit_s() {
        let at = |seconds| Some(solver::Timestamp { seconds, nanos: 0 });
        let record = BuildHistoryRecord {
            reference: "abc".to_owned(),
            created_at: at(1000),
            completed_at: at(1090),
            error: Some(solver::Status {
                code: Code::Unknown.into(),
                ..solver::Status::default()
            }),
            ..BuildHistoryRecord::default()
        };
        for (texts, admitted) in [
            (vec![], true),
            (vec!["status==error"], true),
            (vec!["status==completed"], false),
            (vec!["status==completed", "ref~=b"], true),
            (vec!["status==error,ref~=x"], false),
            (vec!["ref!=abc"], false),
            (vec!["duration>1m29s,duration<=1m30s"], true),
            (vec!["duration>90s"], false),
            (vec!["startedAt<1h"], true),
            (vec!["startedAt>1h"], false),
            (vec!["completedAt>=1970-01-01T00:18:10Z"], true),
            (vec!["completedAt>1970-01-01T00:18:10Z"], false),
        ] {
            let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
            let filters = Filters::read(&texts).unwrap();
            assert_eq!(filters.admit(&record), admitted, "{texts:?}");
        }
        for text in [
            "color==red",
            "startedAt>yesterday",
            "duration>",
            "duration>5",
            "status",
        ] {
            assert!(Filters::read(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}
