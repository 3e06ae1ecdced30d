//! What systemd is asked without systemctl: over the socket on which PID 1 itself speaks D-Bus to root, as systemctl does.
//!
//! A run of systemctl takes several milliseconds of the machine's time, most of them to start it; its question takes a
//! fraction of one. No bus has to be there, so that this works before dbus.service does. One connection for each question:
//! whoever asks may be dropped at any time.
//!
//! Only what every boot with a service asks: [`show`](Bus::show) and [`job`](Bus::job). All else, and everything where the
//! socket cannot be used, is the business of [`units`](super).

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::wire::{Call, ERROR, HEAD, Message, REPLY, SIGNAL, malformed, rest};
use super::{PROPERTIES, with};
use crate::host::Unit;

/// Where PID 1 listens, for root alone.
pub(super) const SOCKET: &str = "/run/systemd/private";

const MANAGER: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const UNIT_INTERFACE: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES_INTERFACE: &str = "org.freedesktop.DBus.Properties";

/// What is said of services only; `Result` is said of some other units as well.
const OF_SERVICES: [&str; 3] = ["Type", "NRestarts", "ExecMainStatus"];

/// A connection to PID 1.
#[derive(Debug)]
pub(super) struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
}

/// What was answered, or what systemd said instead.
pub(super) type Answer<T> = Result<T, String>;

impl Bus {
    /// # Errors
    ///
    /// If there is no systemd, or it does not speak to us.
    pub(super) async fn connect(socket: &Path) -> io::Result<Self> {
        let mut stream = BufReader::new(UnixStream::connect(socket).await?);
        let uid: String = nix::unistd::geteuid().to_string().bytes().map(|digit| format!("{digit:x}")).collect();
        // All in one, and a call only after the answer. What PID 1 reads together with `BEGIN`, it leaves where it is until more
        // comes; on one processor, that would be every call that follows `BEGIN` at once.
        stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes()).await?;
        // One line, and no more: signals of what others have asked for may come right behind it.
        let mut said = Vec::new();
        stream.read_until(b'\n', &mut said).await?;
        if !said.starts_with(b"OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Self { stream, serial: 0 })
    }

    /// The units as systemd knows them, in the order asked for.
    ///
    /// # Errors
    ///
    /// If the connection breaks.
    pub(super) async fn show(&mut self, names: &[String]) -> io::Result<Answer<Vec<Unit>>> {
        let arguments: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
        let loads = arguments.iter().map(|name| Call { path: MANAGER, interface: MANAGER_INTERFACE, member: "LoadUnit", arguments: name });
        let mut paths = Vec::new();
        for loaded in self.ask(loads).await? {
            match loaded {
                Ok(loaded) => paths.push(loaded.reader().text().ok_or_else(malformed)?.to_owned()),
                Err(said) => return Ok(Err(said)),
            }
        }
        let interfaces: Vec<String> = names.iter().map(|name| interface(name)).collect();
        let asked: Vec<Vec<[&str; 2]>> = names.iter().zip(&interfaces).map(|(name, of)| of_its_kind(name, of)).collect();
        let gets = paths.iter().zip(&asked).flat_map(|(path, asked)| {
            let each = asked.iter().map(move |property| of_unit(path, "Get", property));
            std::iter::once(of_unit(path, "GetAll", &[UNIT_INTERFACE])).chain(each)
        });
        let mut answers = self.ask(gets).await?.into_iter();
        let mut units = Vec::new();
        for asked in &asked {
            let all = match answers.next() {
                Some(Ok(all)) => all.reader().properties(PROPERTIES).ok_or_else(malformed)?,
                Some(Err(said)) => return Ok(Err(said)),
                None => return Err(malformed()),
            };
            let mut unit = all.iter().fold(Unit::default(), |unit, (name, value)| with(unit, (name.as_str(), value.as_str())));
            for ([_, property], got) in asked.iter().zip(answers.by_ref()) {
                // A target has no result, and an error says so.
                if let Some(value) = got.ok().and_then(|got| got.reader().variant()) {
                    unit = with(unit, (*property, value.as_str()));
                }
            }
            units.push(unit);
        }
        Ok(Ok(units))
    }

    /// Has a unit started, restarted or reloaded, as `member` says, and waits for the job's end.
    ///
    /// # Errors
    ///
    /// If the connection breaks. What became of the job is not known then.
    pub(super) async fn job(&mut self, member: &str, unit: &str) -> io::Result<Answer<()>> {
        let call = Call { path: MANAGER, interface: MANAGER_INTERFACE, member, arguments: &[unit, "replace"] };
        let serial = self.send(&mut [call].into_iter()).await?;
        let mut job = None;
        // PID 1 tells everybody on this socket of every job's end, without being asked for it.
        let mut ended = Vec::new();
        loop {
            let message = self.receive().await?;
            let mut reader = message.reader();
            match message.kind {
                ERROR if message.answers == serial => return Ok(Err(said(&message))),
                REPLY if message.answers == serial => job = Some(reader.text().ok_or_else(malformed)?.to_owned()),
                SIGNAL if message.member == "JobRemoved" => {
                    let (_id, removed, _unit, result) = (reader.number(), reader.text(), reader.text(), reader.text());
                    let (Some(removed), Some(result)) = (removed, result) else { return Err(malformed()) };
                    ended.push((removed.to_owned(), result.to_owned()));
                }
                _ => {}
            }
            let Some(job) = &job else { continue };
            if let Some((_, result)) = ended.iter().find(|(removed, _)| removed == job) {
                let well = matches!(result.as_str(), "done" | "skipped");
                return Ok(if well { Ok(()) } else { Err(format!("its job ended with `{result}`")) });
            }
        }
    }

    /// Makes calls all at once, and waits for their answers.
    async fn ask<'a>(&mut self, calls: impl Iterator<Item = Call<'a>>) -> io::Result<Vec<Answer<Message>>> {
        let mut calls = calls;
        let before = self.serial;
        let last = self.send(&mut calls).await?;
        let mut answers = Vec::new();
        // One after the other, as they were asked: PID 1 is one thread.
        while before + answers.len() as u32 != last {
            let message = self.receive().await?;
            let expected = message.answers == before + answers.len() as u32 + 1;
            match message.kind {
                REPLY if expected => answers.push(Ok(message)),
                ERROR if expected => answers.push(Err(said(&message))),
                SIGNAL => {}
                _ => return Err(malformed()),
            }
        }
        Ok(answers)
    }

    /// Sends calls. Returns the serial of the last.
    async fn send<'a>(&mut self, calls: &mut dyn Iterator<Item = Call<'a>>) -> io::Result<u32> {
        let mut messages = Vec::new();
        for call in calls {
            self.serial += 1;
            messages.extend(call.encoded(self.serial));
        }
        self.stream.write_all(&messages).await?;
        Ok(self.serial)
    }

    async fn receive(&mut self) -> io::Result<Message> {
        let mut head = [0; HEAD];
        self.stream.read_exact(&mut head).await?;
        let mut body = vec![0; rest(&head)?];
        self.stream.read_exact(&mut body).await?;
        Message::decode(&head, &body).ok_or_else(malformed)
    }
}

/// Whether this is how systemd itself would write a name. Of anything else, systemctl makes one: «my app.service» is
/// `my\x20app.service`.
///
/// Source: systemd.unit(5).
pub(super) fn is_name(unit: &str) -> bool {
    unit.bytes().all(|byte| byte.is_ascii_alphanumeric() || br":-_.\@".contains(&byte))
}

fn of_unit<'a>(path: &'a str, member: &'a str, arguments: &'a [&'a str]) -> Call<'a> {
    Call { path, interface: PROPERTIES_INTERFACE, member, arguments }
}

/// What is asked of a unit besides what every unit has: interface and property.
fn of_its_kind<'a>(unit: &str, interface: &'a str) -> Vec<[&'a str; 2]> {
    let of_services = if unit.ends_with(".service") { OF_SERVICES.as_slice() } else { &[] };
    std::iter::once("Result").chain(of_services.iter().copied()).map(|property| [interface, property]).collect()
}

/// The interface of what only units of its kind have: `org.freedesktop.systemd1.Service`.
fn interface(unit: &str) -> String {
    let kind = unit.rsplit('.').next().unwrap_or_default();
    let (first, rest) = kind.split_at_checked(1).unwrap_or_default();
    format!("org.freedesktop.systemd1.{}{rest}", first.to_ascii_uppercase())
}

fn said(refusal: &Message) -> String {
    refusal.reader().text().unwrap_or("it did not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::super::wire::tests::message;
    use super::*;

    /// A PID 1 that greets one client, hears one call, and then sends these.
    async fn systemd(listener: UnixListener, messages: Vec<Vec<u8>>) -> Message {
        let (stream, _) = listener.accept().await.unwrap();
        let mut client = Bus { stream: BufReader::new(stream), serial: 0 };
        let mut greeting = Vec::new();
        while !greeting.ends_with(b"\r\nBEGIN\r\n") {
            assert_ne!(client.stream.read_buf(&mut greeting).await.unwrap(), 0, "{greeting:?}");
        }
        assert!(greeting.starts_with(b"\0AUTH EXTERNAL 3"), "{greeting:?}");
        let more = client.stream.get_ref().try_read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(more, Err(io::ErrorKind::WouldBlock), "a call together with what leads to it");
        // What somebody else has begun is told right behind.
        let greeted = [b"OK 0123456789abcdef\r\n".to_vec(), removed("/job/0", "done")].concat();
        client.stream.write_all(&greeted).await.unwrap();
        let call = client.receive().await.unwrap();
        client.stream.write_all(&messages.concat()).await.unwrap();
        call
    }

    async fn start(messages: Vec<Vec<u8>>) -> (io::Result<Answer<()>>, Message) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("private");
        let listener = UnixListener::bind(&socket).unwrap();
        let ask = async { Bus::connect(&socket).await?.job("StartUnit", "x.service").await };
        futures_util::join!(ask, systemd(listener, messages))
    }

    /// Of a job: its number, its object, its unit and how it ended.
    fn removed(job: &str, result: &str) -> Vec<u8> {
        message(SIGNAL, 0, "JobRemoved", Some(1), &[job, "x.service", result])
    }

    #[tokio::test]
    async fn a_job_is_waited_for_whatever_else_ends_meanwhile() {
        let reply = message(REPLY, 1, "", None, &["/job/2"]);
        for (result, ends) in [("done", Ok(())), ("skipped", Ok(())), ("failed", Err("its job ended with `failed`".to_owned()))] {
            for order in [
                vec![removed("/job/1", "canceled"), reply.clone(), removed("/job/2", result)],
                vec![removed("/job/2", result), reply.clone()],
            ] {
                let (ended, call) = start(order).await;
                assert_eq!(ended.unwrap(), ends);
                let mut asked = call.reader();
                assert_eq!((call.member.as_str(), asked.text(), asked.text()), ("StartUnit", Some("x.service"), Some("replace")));
            }
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_a_lost_connection_is_an_error() {
        let (refused, _) = start(vec![message(ERROR, 1, "", None, &["Unit x.service is masked."])]).await;
        assert_eq!(refused.unwrap(), Err("Unit x.service is masked.".into()));
        assert!(start(vec![message(REPLY, 1, "", None, &["/job/2"])]).await.0.is_err());
        assert!(start(vec![b"what is this, a message?".to_vec()]).await.0.is_err());
    }
}
