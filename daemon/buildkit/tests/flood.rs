//! A folder of very many files, told faster than it is read.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::convert::Infallible;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mica_buildkit::message::session::{Packet, PacketKind};
use mica_buildkit::{DirSync, Session, Stat, SyncRequest};
use prost::Message;

const FILES: u32 = 60_000;

/// One packet as gRPC frames it.
fn framed(stat: Option<Stat>) -> Bytes {
    let packet = Packet {
        kind: PacketKind::Stat.into(),
        stat,
        ..Packet::default()
    };
    let length = u32::try_from(packet.encoded_len()).unwrap();
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(length);
    packet.encode(&mut bytes).unwrap();
    bytes.freeze()
}

/// Tells of all files, each in a frame of its own, as fast as it may.
async fn tell(
    _: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let files = (0..FILES).map(|number| {
        framed(Some(Stat {
            path: format!("{number:08}"),
            ..Stat::default()
        }))
    });
    let frames = files.chain([framed(None)]).map(|bytes| Ok(Frame::data(bytes)));
    let answer = Response::builder().header("content-type", "application/grpc");
    Ok(answer.body(StreamBody::new(tokio_stream::iter(frames))).unwrap())
}

#[tokio::test]
async fn a_slow_reader_is_waited_for() {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    tokio::spawn(
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(theirs), service_fn(tell)),
    );
    let offered = ["/moby.filesync.v1.FileSync/DiffCopy".to_owned()];
    let (session, attached) = Session::attach(ours, offered).await.unwrap();
    tokio::spawn(attached.carry());
    let mut sync = DirSync::begin(&session, &SyncRequest::default()).await.unwrap();
    // whatever may come without being read has come by then
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut files = 0;
    while sync.next().await.unwrap().is_some() {
        files += 1;
    }
    assert_eq!(files, FILES);
}
