//! Which protocol a client begins to speak.

use std::io;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// What connections of HTTP/2 begin with (RFC 9113, 3.4), as far as nothing else begins so.
const PREFACE: &[u8] = b"PRI";
/// How soon a client that has sent less than that is looked after, at first; then twice as long each time.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the pause becomes at most: what is waited for is a byte or two.
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// Waits for the first bytes and says whether they are HTTP/2's; they stay to be read.
pub(crate) async fn is_http2(stream: &UnixStream) -> io::Result<bool> {
    let mut pause = PAUSE;
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let mut bytes = [0; PREFACE.len()];
        let peeked = stream.try_io(Interest::READABLE, || {
            Ok(recv(stream, &mut bytes, RecvFlags::PEEK)?.0)
        });
        match peeked {
            Ok(0) => return Ok(false),
            Ok(count) if bytes[..count] == *PREFACE => return Ok(true),
            Ok(count) if !PREFACE.starts_with(&bytes[..count]) => return Ok(false),
            // no more will come: what there is is no HTTP/2
            Ok(_) if ready.is_read_closed() => return Ok(false),
            Ok(_) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn the_first_bytes_tell_and_stay() {
        for (pieces, expected) in [
            (&[&b"PRI * HTTP/2.0\r\n"[..]][..], true),
            (&[b"P", b"R", b"I"], true),
            (&[b"P", b"OST / HTTP/1.1\r\n"], false),
            (&[b"GET"], false),
            (&[b"PRX"], false),
            (&[b"P"], false),
        ] {
            let (client, mut server) = UnixStream::pair().unwrap();
            let sent = pieces.concat();
            let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
            let sending = tokio::spawn(async move {
                for piece in pieces {
                    client.writable().await.unwrap();
                    client.try_write(&piece).unwrap();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
            if sent == b"P" {
                // it never says more, and leaves, which must be noticed
                sending.await.unwrap();
                let told = tokio::time::timeout(Duration::from_secs(30), is_http2(&server)).await;
                assert!(!told.expect("the client is gone").unwrap());
                continue;
            }
            assert_eq!(is_http2(&server).await.unwrap(), expected, "{sent:?}");
            sending.await.unwrap();
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, sent);
        }
    }
}
