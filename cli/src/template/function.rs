//! The functions a template may call.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

use crate::template::text::{Datum, NO_VALUE, float_text, type_name};

/// Widths and precisions are cut to this.
const MAX_WIDTH: usize = 10_000;

const NAMES: [&str; 26] = [
    "and", "eq", "ge", "gt", "html", "index", "join", "json", "js", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper", "urlquery",
];

/// The function's name, if there is one of that name.
pub(super) fn known(name: &str) -> Option<&'static str> {
    NAMES.into_iter().find(|known| *known == name)
}

/// Whether the function turns one text into another.
pub(super) fn changes_text(name: &str) -> bool {
    matches!(
        name,
        "json" | "lower" | "upper" | "title" | "truncate" | "pad" | "split" | "join"
    )
}

/// Calls a function. `and` and `or` are not here: they do not evaluate all their arguments.
pub(super) fn call(name: &'static str, args: &[Datum]) -> Result<Datum, String> {
    let wanted = match name {
        "json" | "len" | "lower" | "upper" | "title" | "not" => 1..=1,
        "join" | "split" | "truncate" | "ne" | "lt" | "le" | "gt" | "ge" => 2..=2,
        "pad" => 3..=3,
        "eq" => 2..=usize::MAX,
        "index" | "slice" | "printf" => 1..=usize::MAX,
        _ => 0..=usize::MAX,
    };
    if !wanted.contains(&args.len()) {
        let least = if wanted.end() == wanted.start() {
            ""
        } else {
            "at least "
        };
        return Err(format!(
            "wrong number of args for {name}: want {least}{} got {}",
            wanted.start(),
            args.len()
        ));
    }
    run(name, args).map_err(|text| format!("error calling {name}: {text}"))
}

fn run(name: &str, args: &[Datum]) -> Result<Datum, String> {
    Ok(match name {
        "json" => serde_json::to_string(&args[0].value)
            .map_err(|e| e.to_string())?
            .into(),
        "len" => Value::from(length(&args[0])?).into(),
        "lower" => string(&args[0])?.to_lowercase().into(),
        "upper" => string(&args[0])?.to_uppercase().into(),
        "title" => title(string(&args[0])?).into(),
        "not" => Value::Bool(!args[0].is_true()).into(),
        "join" => strings(&args[0])?.join(string(&args[1])?).into(),
        "split" => split(string(&args[0])?, string(&args[1])?).into(),
        "truncate" => string(&args[0])?
            .chars()
            .take(size(&args[1])?)
            .collect::<String>()
            .into(),
        "pad" => pad(&args[0], size(&args[1])?, size(&args[2])?).into(),
        "index" => index(&args[0], &args[1..])?,
        "slice" => slice(&args[0], &args[1..])?,
        "eq" => Value::Bool(equal(args)?).into(),
        "ne" => Value::Bool(!equal(args)?).into(),
        "lt" => Value::Bool(compare(args)?.is_lt()).into(),
        "le" => Value::Bool(compare(args)?.is_le()).into(),
        "gt" => Value::Bool(compare(args)?.is_gt()).into(),
        "ge" => Value::Bool(compare(args)?.is_ge()).into(),
        "printf" => printf(string(&args[0])?, &args[1..]).into(),
        "println" => (args.iter().map(Datum::text).collect::<Vec<_>>().join(" ") + "\n").into(),
        "html" => html(&print(args)).into(),
        "js" => js(&print(args)).into(),
        "urlquery" => urlquery(&print(args)).into(),
        _ => print(args).into(),
    })
}

fn string(datum: &Datum) -> Result<&str, String> {
    datum
        .value
        .as_str()
        .ok_or_else(|| format!("want a string, not {}", type_name(&datum.value)))
}

fn integer(datum: &Datum) -> Result<i64, String> {
    datum
        .value
        .as_i64()
        .ok_or_else(|| format!("want a number, not {}", type_name(&datum.value)))
}

fn size(datum: &Datum) -> Result<usize, String> {
    let number = integer(datum)?;
    usize::try_from(number)
        .map(|n| n.min(MAX_WIDTH))
        .map_err(|_| format!("negative number {number}"))
}

fn strings(datum: &Datum) -> Result<Vec<&str>, String> {
    let wrong = || format!("want a list of strings, not {}", type_name(&datum.value));
    match &datum.value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => list.iter().map(|item| item.as_str().ok_or_else(wrong)).collect(),
        _ => Err(wrong()),
    }
}

fn length(datum: &Datum) -> Result<usize, String> {
    match &datum.value {
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.len()),
        Value::Null if datum.nil != NO_VALUE => Ok(0),
        value => Err(format!("len of type {}", type_name(value))),
    }
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut starts = true;
    for c in text.chars() {
        if starts {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        starts = !(c.is_alphanumeric() || c == '_' || c == '\'');
    }
    out
}

fn split(text: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return text.chars().map(|c| c.to_string()).collect();
    }
    text.split(separator).collect()
}

fn pad(datum: &Datum, before: usize, after: usize) -> String {
    let text = datum.text();
    if text.is_empty() {
        return text;
    }
    format!("{}{text}{}", " ".repeat(before), " ".repeat(after))
}

fn index(datum: &Datum, keys: &[Datum]) -> Result<Datum, String> {
    let mut value = &datum.value;
    for key in keys {
        value = match (value, &key.value) {
            (Value::Array(list), Value::Number(_)) => {
                let at = integer(key)?;
                let item = usize::try_from(at).ok().and_then(|at| list.get(at));
                item.ok_or_else(|| format!("index out of range: {at}"))?
            }
            (Value::Object(map), Value::String(name)) => match map.get(name) {
                Some(item) => item,
                // Go answers with the map's zero value, which for the maps here is an empty text.
                None => return Ok(String::new().into()),
            },
            (Value::String(text), Value::Number(_)) => {
                let at = integer(key)?;
                let byte = usize::try_from(at).ok().and_then(|at| text.as_bytes().get(at));
                return byte
                    .map(|byte| Value::from(*byte).into())
                    .ok_or_else(|| format!("index out of range: {at}"));
            }
            (Value::Null, Value::String(_)) if datum.nil != NO_VALUE => return Ok(String::new().into()),
            (Value::Null, Value::Number(at)) if datum.nil != NO_VALUE => {
                return Err(format!("index out of range: {at}"));
            }
            (Value::Null, _) => return Err("index of untyped nil".to_owned()),
            (Value::Array(_) | Value::Object(_), key) => {
                return Err(format!("cannot index with type {}", type_name(key)));
            }
            (value, _) => return Err(format!("can't index item of type {}", type_name(value))),
        };
    }
    Ok(value.clone().into())
}

fn slice(datum: &Datum, bounds: &[Datum]) -> Result<Datum, String> {
    let length = match &datum.value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.len(),
        value => return Err(format!("can't slice item of type {}", type_name(value))),
    };
    let bound = |at: usize, default: usize| bounds.get(at).map_or(Ok(default), size);
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    let outside = || format!("index out of range: {}", to.max(from));
    match &datum.value {
        Value::String(text) => text
            .get(from..to)
            .map(|part| part.to_owned().into())
            .ok_or_else(outside),
        Value::Array(list) => list
            .get(from..to)
            .map(|part| Value::from(part).into())
            .ok_or_else(outside),
        _ => Err(outside()),
    }
}

fn equal(args: &[Datum]) -> Result<bool, String> {
    for other in &args[1..] {
        let same = match (&args[0].value, &other.value) {
            (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
                return Err("non-comparable type".to_owned());
            }
            (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
            (a, b) if a.is_null() || b.is_null() || type_name(a) == type_name(b) => a == b,
            _ => return Err("incompatible types for comparison".to_owned()),
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}

fn compare(args: &[Datum]) -> Result<Ordering, String> {
    let wrong = || "incompatible types for comparison".to_owned();
    match (&args[0].value, &args[1].value) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            _ => a.as_f64().partial_cmp(&b.as_f64()).ok_or_else(wrong),
        },
        _ => Err(wrong()),
    }
}

/// Go's `Sprint`: a space between two arguments of which neither is a string.
fn print(args: &[Datum]) -> String {
    let mut out = String::new();
    for (at, arg) in args.iter().enumerate() {
        if at > 0 && !arg.value.is_string() && !args[at - 1].value.is_string() {
            out.push(' ');
        }
        out.push_str(&arg.text());
    }
    out
}

/// The flags, width and precision of one `%` verb.
#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

fn printf(format: &str, args: &[Datum]) -> String {
    let mut out = String::new();
    let mut used = 0;
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| "-0+# ".contains(*c)) {
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                _ => {}
            }
        }
        spec.width = decimal(&mut chars);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(decimal(&mut chars));
        }
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match args.get(used) {
                Some(arg) => {
                    used += 1;
                    out.push_str(&verb_text(verb, &spec, arg));
                }
                None => {
                    used += 1;
                    out.push_str(&format!("%!{verb}(MISSING)"));
                }
            },
        }
    }
    if let Some(extra) = args.get(used..).filter(|extra| !extra.is_empty()) {
        let extra: Vec<_> = extra
            .iter()
            .map(|arg| format!("{}={}", type_name(&arg.value), arg.text()))
            .collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

/// The number that comes next, cut to what is allowed; 0 if none comes.
fn decimal(chars: &mut Peekable<Chars<'_>>) -> usize {
    let mut number = 0_usize;
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        number = (number * 10 + digit.to_digit(10).map_or(0, |digit| digit as usize)).min(MAX_WIDTH);
    }
    number
}

fn verb_text(verb: char, spec: &Spec, arg: &Datum) -> String {
    let value = &arg.value;
    let cut = |text: &str| match spec.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    let text = match (verb, value) {
        ('T', value) => type_name(value).to_owned(),
        ('v', Value::String(text)) if spec.sharp => format!("{text:?}"),
        ('v', _) => arg.text(),
        ('s', Value::String(text)) => cut(text),
        ('s', Value::Array(_) | Value::Object(_)) => arg.text(),
        ('q', Value::String(text)) => format!("{:?}", cut(text)),
        ('q', Value::Array(list)) => {
            let items: Vec<_> = list
                .iter()
                .map(|item| match item {
                    Value::String(text) => format!("{text:?}"),
                    other => Datum::from(other.clone()).text(),
                })
                .collect();
            format!("[{}]", items.join(" "))
        }
        ('t', Value::Bool(value)) => value.to_string(),
        ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('d' | 'x' | 'X' | 'o' | 'b' | 'c', Value::Number(number)) if !number.is_f64() => {
            integer_text(verb, spec, number)
        }
        ('f' | 'F' | 'e' | 'g', Value::Number(number)) if number.is_f64() => {
            let float = number.as_f64().unwrap_or_default();
            match verb {
                'f' | 'F' => format!("{float:.*}", spec.precision.unwrap_or(6).min(300)),
                _ => float_text(float),
            }
        }
        (verb, Value::Null) => return format!("%!{verb}(<nil>)"),
        (verb, value) => return format!("%!{verb}({}={})", type_name(value), arg.text()),
    };
    aligned(spec, &text, value.is_number())
}

fn integer_text(verb: char, spec: &Spec, number: &serde_json::Number) -> String {
    let number = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
        .unwrap_or_default();
    let (sign, size) = (
        if number < 0 {
            "-"
        } else if spec.plus {
            "+"
        } else {
            ""
        },
        number.unsigned_abs(),
    );
    let prefix = if spec.sharp && verb == 'x' { "0x" } else { "" };
    match verb {
        'x' => format!("{sign}{prefix}{size:x}"),
        'X' => format!("{sign}{size:X}"),
        'o' => format!("{sign}{size:o}"),
        'b' => format!("{sign}{size:b}"),
        'c' => u32::try_from(number)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or('\u{fffd}')
            .to_string(),
        _ => format!("{sign}{size}"),
    }
}

fn aligned(spec: &Spec, text: &str, is_number: bool) -> String {
    let missing = spec.width.saturating_sub(text.chars().count());
    if spec.left {
        return format!("{text}{}", " ".repeat(missing));
    }
    if spec.zero && is_number {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", text),
        };
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    format!("{}{text}", " ".repeat(missing))
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

fn urlquery(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => out.push('+'),
            b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
