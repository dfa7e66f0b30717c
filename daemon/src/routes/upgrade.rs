//! `/grpc` and `/session`: the connection becomes one of HTTP/2, on which the daemon answers or the client does
//! (engine API contract, section 2.13).

use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;

use crate::grpc::{self, Announced};
use crate::routes::Call;
use crate::wire::reply::{Failure, Reply, empty};

/// The protocol that is spoken afterwards, as Docker calls it.
const PROTOCOL: &str = "h2c";

/// `POST /grpc`
pub(crate) fn grpc(call: Call) -> Result<Reply, Failure> {
    let reply = agree(&call.headers)?;
    let Call {
        daemon,
        mut busy,
        peer,
        upgrade,
        ..
    } = call;
    tokio::spawn(async move {
        // a client that only looks whether this works is gone by now
        if let Ok(connection) = upgrade.await
            && let Some(place) = busy.leave_connection()
        {
            grpc::serve(&daemon, &peer, &place, TokioIo::new(connection)).await;
        }
        drop(busy);
    });
    Ok(reply)
}

/// `POST /session`
pub(crate) fn session(call: Call) -> Result<Reply, Failure> {
    let reply = agree(&call.headers)?;
    let all = |name: &str| {
        let values = call.headers.get_all(name).iter();
        values
            .filter_map(|value| Some(value.to_str().ok()?.to_owned()))
            .collect()
    };
    let announced = Announced::read(all).map_err(Failure::invalid)?;
    tokio::spawn(async move {
        if let Ok(connection) = call.upgrade.await {
            announced.carry(&call.daemon, TokioIo::new(connection)).await;
        }
        drop(call.busy);
    });
    Ok(reply)
}

/// The answer after which the other protocol begins.
fn agree(headers: &HeaderMap) -> Result<Reply, Failure> {
    let asked = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    match asked {
        None => return Err(Failure::invalid("no upgrade proto in request")),
        Some(protocol) if protocol.eq_ignore_ascii_case(PROTOCOL) => {}
        Some(protocol) => return Err(Failure::invalid(format!("protocol {protocol} not supported"))),
    }
    let mut reply = empty(StatusCode::SWITCHING_PROTOCOLS);
    reply
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    reply
        .headers_mut()
        .insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    Ok(reply)
}
