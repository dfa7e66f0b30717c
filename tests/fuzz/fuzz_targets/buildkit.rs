//! Any bytes as the messages BuildKit's clients send, alone and one after the other as a client's folder.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mica_buildkit::Stat;
use mica_buildkit::message::control::{SolveRequest, StatusResponse};
use mica_buildkit::message::gateway;
use mica_buildkit::message::session::{Packet, PacketKind};
use mica_buildkit::message::solver::{FailedSource, Status};
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    same::<Packet>(bytes);
    same::<Stat>(bytes);
    same::<SolveRequest>(bytes);
    same::<StatusResponse>(bytes);
    same::<Status>(bytes);
    same::<FailedSource>(bytes);
    same::<gateway::SolveRequest>(bytes);
    same::<gateway::ReturnRequest>(bytes);
    // a stream of messages, each with its length before it
    let mut rest = Bytes::copy_from_slice(bytes);
    while !rest.is_empty() {
        let Ok(packet) = Packet::decode_length_delimited(&mut rest) else {
            return;
        };
        let Some(stat) = packet.stat else {
            continue;
        };
        assert!(stat.permissions() <= 0o7777);
        if let Some(kind) = stat.kind() {
            let again = Stat {
                mode: Stat::mode_of(kind, stat.permissions()),
                ..Stat::default()
            };
            assert_eq!(
                (again.kind(), again.permissions()),
                (Some(kind), stat.permissions())
            );
        }
        let _ = PacketKind::try_from(packet.kind);
    }
});

/// What is understood is written so that it is understood the same way.
fn same<T: Message + Default>(bytes: &[u8]) {
    let Ok(message) = T::decode(bytes) else {
        return;
    };
    let written = message.encode_to_vec();
    assert_eq!(written.len(), message.encoded_len());
    let again = T::decode(&written[..]).expect("it was written here");
    // maps have no order, so texts and bytes cannot be compared
    assert_eq!(again.encoded_len(), message.encoded_len());
}
