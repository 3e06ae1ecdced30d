//! Queries systemd without systemctl: over the socket on which PID 1 itself speaks D-Bus to root, as systemctl does.
//!
//! A run of systemctl takes several milliseconds of the machine's time, most of them for its start; the query itself
//! takes a fraction of a millisecond. No bus daemon is needed, so this works before dbus.service has started.
//!
//! systemd unloads a unit, and forgets what it did, as soon as the unit is inactive and not referenced, whether it was
//! skipped or ended successfully. Before that it notifies all connected clients, and these notifications are stored
//! here.
//!
//! Only the operations of a boot with services are here: [`show`](Bus::show), [`job`](Bus::job) and
//! [`reset_failed`](Bus::reset_failed). All others, and the fallback if the socket cannot be used, are in
//! [`units`](super).

use std::io;
use std::path::PathBuf;

use tokio::sync::Mutex;

use super::connection::{Answer, Connection, Until};
use super::unit::{PROPERTIES, Unit};
use super::wire::{Call, malformed};

/// The socket of PID 1, accessible to root only.
pub(super) const SOCKET: &str = "/run/systemd/private";

const MANAGER: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES_INTERFACE: &str = "org.freedesktop.DBus.Properties";

/// PID 1, reached over its socket.
#[derive(Debug)]
pub(super) struct Bus {
    socket: PathBuf,
    open: Mutex<Option<Connection>>,
}

impl Bus {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, open: Mutex::new(None) }
    }

    async fn connection(&self) -> io::Result<Connection> {
        let mut open = self.open.lock().await;
        if let Some(connection) = open.as_ref().filter(|connection| !connection.is_broken()) {
            return Ok(connection.clone());
        }
        Ok(open.insert(Connection::open(&self.socket).await?).clone())
    }

    pub(super) async fn close(&self) {
        *self.open.lock().await = None;
    }

    /// The units as systemd knows them, in the requested order.
    ///
    /// # Errors
    ///
    /// If systemd cannot be reached, or the connection breaks.
    pub(super) async fn show(&self, names: &[String]) -> io::Result<Answer<Vec<Unit>>> {
        let connection = self.connection().await?;
        let load = |name: &String| {
            let call = Call { path: MANAGER, interface: MANAGER_INTERFACE, member: "LoadUnit", arguments: &[name.as_str()] };
            connection.ask(&call, Until::Reply)
        };
        let loading: Vec<_> = names.iter().map(load).collect();
        let mut asked = Vec::new();
        for loaded in loading {
            let loaded = match loaded.await? {
                Ok(loaded) => loaded,
                Err(said) => return Ok(Err(said)),
            };
            let path = loaded.0.reader().text().ok_or_else(malformed)?;
            // An empty interface name requests the properties of all interfaces of the unit.
            let call = Call { path, interface: PROPERTIES_INTERFACE, member: "GetAll", arguments: &[""] };
            asked.push(connection.ask(&call, Until::Reply));
        }
        let mut units = Vec::new();
        for answer in asked {
            match answer.await? {
                Ok((all, told)) => {
                    let all = all.reader().properties(PROPERTIES).ok_or_else(malformed)?;
                    let unit = all.iter().fold(Unit::default(), |unit, (name, value)| unit.with((name.as_str(), value.as_str())));
                    units.push(if unit.is_forgotten() { unit.remembering(&told) } else { unit });
                }
                Err(said) => return Ok(Err(said)),
            }
        }
        Ok(Ok(units))
    }

    /// Starts, restarts or reloads a unit, as `member` says, and waits until the job has ended.
    ///
    /// # Errors
    ///
    /// If systemd cannot be reached, or the connection breaks: the result of the job is then unknown.
    pub(super) async fn job(&self, member: &str, unit: &str) -> io::Result<Answer<()>> {
        let call = Call { path: MANAGER, interface: MANAGER_INTERFACE, member, arguments: &[unit, "replace"] };
        let removed = match self.connection().await?.ask(&call, Until::JobRemoved).await? {
            Ok((removed, _)) => removed,
            Err(said) => return Ok(Err(said)),
        };
        let mut reader = removed.reader();
        let (_id, _job, _unit, result) = (reader.number(), reader.text(), reader.text(), reader.text());
        match result.ok_or_else(malformed)? {
            "done" | "skipped" => Ok(Ok(())),
            result => Ok(Err(format!("its job ended with `{result}`"))),
        }
    }

    /// Makes systemd forget that a unit has failed, and how often it was started.
    ///
    /// # Errors
    ///
    /// As for [`show`](Bus::show).
    pub(super) async fn reset_failed(&self, unit: &str) -> io::Result<Answer<()>> {
        let call = Call { path: MANAGER, interface: MANAGER_INTERFACE, member: "ResetFailedUnit", arguments: &[unit] };
        Ok(self.connection().await?.ask(&call, Until::Reply).await?.map(|_| ()))
    }
}

/// Whether `unit` is written as systemd itself would write it. systemctl escapes other names: "my app.service" becomes
/// `my\x20app.service`.
///
/// Source: systemd.unit(5).
pub(super) fn is_name(unit: &str) -> bool {
    unit.bytes().all(|byte| byte.is_ascii_alphanumeric() || br":-_.\@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::super::connection::tests::{listening, removed, systemd};
    use super::super::wire::tests::message;
    use super::super::wire::{ERROR, REPLY};
    use super::*;

    async fn start(messages: Vec<Vec<u8>>) -> io::Result<Answer<()>> {
        let (_directory, socket, listener) = listening();
        let bus = Bus::new(socket);
        let (ended, heard) = futures_util::join!(bus.job("StartUnit", "x.service"), systemd(listener, 1, messages));
        let mut asked = heard[0].reader();
        assert_eq!((heard[0].member.as_str(), asked.text(), asked.text()), ("StartUnit", Some("x.service"), Some("replace")));
        ended
    }

    #[tokio::test]
    async fn a_job_is_waited_for_whatever_else_ends_meanwhile() {
        let reply = message(REPLY, 1, "", None, &["/job/2"]);
        for (result, ends) in [("done", Ok(())), ("skipped", Ok(())), ("failed", Err("its job ended with `failed`".to_owned()))] {
            for order in [
                vec![removed("/job/1", "canceled"), reply.clone(), removed("/job/2", result)],
                vec![removed("/job/2", result), reply.clone()],
            ] {
                assert_eq!(start(order).await.unwrap(), ends);
            }
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_a_lost_connection_is_an_error() {
        let refused = start(vec![message(ERROR, 1, "", None, &["Unit x.service is masked."])]).await;
        assert_eq!(refused.unwrap(), Err("Unit x.service is masked.".into()));
        assert!(start(vec![message(REPLY, 1, "", None, &["/job/2"])]).await.is_err());
    }
}
