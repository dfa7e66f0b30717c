//! Any status, headers and body as what a registry answers: challenges, refusals, tokens, links to next pages, ranges.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mica_registry::fuzzing;

/// A page of a list that is being read.
const PAGE: &str = "https://registry.example/v2/a/b/tags/list?n=100";

fuzz_target!(|bytes: &[u8]| {
    // a status, lines of headers, an empty line, a body
    let Some((status, rest)) = bytes.split_first() else {
        return;
    };
    let end = rest.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((rest, &b""[..]), |at| (&rest[..at], &rest[at + 2..]));
    let lines = head.split(|b| *b == b'\n').filter_map(|line| {
        let at = line.iter().position(|b| *b == b':')?;
        Some((&line[..at], line[at + 1..].trim_ascii()))
    });
    let headers = fuzzing::headers(lines);
    let refusal = fuzzing::refusal(400 + u16::from(*status % 200), &headers, body);
    let text = refusal.to_string();
    assert!(text.len() < 64 << 10, "{} bytes", text.len());
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    fuzzing::challenges(&headers);
    if let Ok(url) = fuzzing::next_page(PAGE, &headers)
        && let Some(url) = url
    {
        assert!(url.starts_with("https://registry.example/"), "{url}");
    }
    // what a token endpoint says ends in no message
    match fuzzing::token(body) {
        Ok(life) => assert!(life.as_secs() <= 24 * 3600, "{life:?}"),
        Err(text) => assert!(text.len() < 1024, "{text}"),
    }
    if let Some((first, total)) = fuzzing::range(&headers) {
        let again = format!(
            "bytes {first}-{first}/{}",
            total.map_or("*".to_owned(), |total| total.to_string())
        );
        let again = fuzzing::headers([(&b"content-range"[..], again.as_bytes())].into_iter());
        assert_eq!(fuzzing::range(&again), Some((first, total)));
    }
});
