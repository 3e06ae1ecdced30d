//! Resolves a name and opens a TCP connection to it.
//!
//! A host that does not exist yet does not refuse connections but stays silent, and the kernel repeats an unanswered
//! SYN after one second, then after two more. To notice the database sooner, further connections are started in the
//! meantime, and the first one that is answered is used. They rotate through the addresses of the name, so that one of
//! them may be dead.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::refusal::Refusal;
use super::target::Target;
use crate::net::resolver::SystemResolver;

/// The delay before the next connection is started while earlier ones are unanswered.
const STAGGER: Duration = Duration::from_millis(150);

/// How long a silent host is tried before the failure is reported to the waiting step.
const SILENCE: Duration = Duration::from_secs(3);

pub(super) async fn connect(resolver: &SystemResolver, target: &Target) -> Result<TcpStream, Refusal> {
    let addresses: Vec<SocketAddr> = match target.host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => resolver.look_up(&target.host).await.map_err(|error| Refusal::Name { why: error.to_string() })?,
    }
    .into_iter()
    .map(|address| SocketAddr::new(address, target.port))
    .collect();
    let at = target.at();
    let tries = pin!(attempts(&addresses, &at));
    match select(tries, pin!(sleep(SILENCE))).await {
        Either::Left((connected, _)) => connected,
        Either::Right(_) => Err(Refusal::Silent { at: at.clone() }),
    }
}

/// Starts connections until one is answered. Refusals count only once every address has refused.
async fn attempts(addresses: &[SocketAddr], at: &str) -> Result<TcpStream, Refusal> {
    let mut begun = FuturesUnordered::new();
    let mut refused = BTreeSet::new();
    let mut in_turn = addresses.iter().copied().cycle();
    loop {
        if let Some(address) = in_turn.by_ref().take(addresses.len()).find(|address| !refused.contains(address)) {
            begun.push(async move { (address, TcpStream::connect(address).await) });
        }
        match select(begun.next(), pin!(sleep(STAGGER))).await {
            Either::Left((Some((_, Ok(stream))), _)) => {
                // Messages are short, and each side waits for the other's.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Either::Left((Some((address, Err(error))), _)) => {
                refused.insert(address);
                if addresses.iter().all(|address| refused.contains(address)) {
                    return Err(Refusal::of_io(at, &error));
                }
            }
            Either::Left((None, _)) => return Err(Refusal::Name { why: format!("{at} has no address") }),
            Either::Right(_) => {}
        }
    }
}
