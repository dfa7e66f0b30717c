//! Files from the web: what a server may send at most, and what it is asked again.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use mica_registry::{Error, Piece, Validators, WebAnswer};
use tokio::sync::mpsc;

use crate::setting::client;

/// A server that reads a head, writes what `answer` does to each connection in turn, and hangs up.
fn serve(
    answer: impl Fn(u64, &mut TcpStream) -> std::io::Result<()> + Send + 'static,
) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU64::new(0));
    let own = count.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let turn = own.fetch_add(1, Ordering::Relaxed);
            // a client that has enough hangs up first
            let _ = answer(turn, &mut stream);
        }
    });
    (url, count)
}

async fn fetch(url: &str, limit: u64) -> (Result<WebAnswer, Error>, Vec<u8>) {
    let (sender, mut pieces) = mpsc::channel(4);
    let client = client();
    let fetching = async {
        let answer = client
            .fetch(url, &Validators::default(), limit, &sender, &|_, _| {})
            .await;
        drop(sender);
        answer
    };
    let gathering = async {
        let mut bytes = Vec::new();
        while let Some(Piece { offset, bytes: piece }) = pieces.recv().await {
            bytes.truncate(usize::try_from(offset).unwrap());
            bytes.extend_from_slice(&piece);
        }
        bytes
    };
    tokio::join!(fetching, gathering)
}

#[tokio::test]
async fn a_body_without_end_is_cut_at_the_limit() {
    let (url, count) = serve(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(&[0; 4096])?;
        }
    });
    let (answer, bytes) = fetch(&url, 100_000).await;
    assert!(
        matches!(answer, Err(Error::TooLarge { limit: 100_000, .. })),
        "{answer:?}"
    );
    assert!(bytes.len() <= 100_000);
    assert_eq!(count.load(Ordering::Relaxed), 1, "it is not asked again");
}

#[tokio::test]
async fn a_length_over_the_limit_is_refused_before_anything_is_read() {
    let (url, _) = serve(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100001\r\n\r\nx")
    });
    let (answer, bytes) = fetch(&url, 100_000).await;
    assert!(matches!(answer, Err(Error::TooLarge { .. })), "{answer:?}");
    assert!(bytes.is_empty());
}

#[tokio::test]
async fn without_a_validator_a_broken_body_is_fetched_anew() {
    let (url, count) = serve(|turn, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n")?;
        stream.write_all(if turn == 0 { b"old" } else { b"newnew" })
    });
    let (answer, bytes) = fetch(&url, 100).await;
    assert_eq!(answer.unwrap(), WebAnswer::Whole(Validators::default()));
    assert_eq!(
        (bytes.as_slice(), count.load(Ordering::Relaxed)),
        (&b"newnew"[..], 2)
    );
}
