//! One connection to PID 1, shared by all concurrent queries.
//!
//! PID 1 notifies every connected client about every job and unit: with a connection for each of a hundred starting
//! services, it would have to send ten thousand messages. A broken connection is replaced at the next query.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::pin::pin;

use futures_util::StreamExt as _;
use futures_util::stream::try_unfold;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, split};
use tokio::net::UnixStream;
use tokio::select;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::unit::{PROPERTIES, Told};
use super::wire::{Call, ERROR, HEAD, Message, REPLY, SIGNAL, malformed, numbered, rest};

/// The maximum number of calls sent at once.
const AT_ONCE: usize = 1024;

/// An answer, or systemd's error message.
pub(super) type Answer<T> = Result<T, String>;

/// A handle for sending queries to the connection.
#[derive(Debug, Clone)]
pub(super) struct Connection(UnboundedSender<Question>);

#[derive(Debug)]
struct Question {
    path: String,
    call: Vec<u8>,
    until: Until,
    asks: Asks,
}

/// Sends the answer to the caller, together with the notifications about the queried object since it was first queried.
type Asks = oneshot::Sender<Answer<(Message, Told)>>;

/// Which message completes a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Reply,
    /// The signal that the job named in the reply has been removed.
    JobRemoved,
}

impl Connection {
    /// # Errors
    ///
    /// If systemd is not running, or refuses the connection.
    pub(super) async fn open(socket: &Path) -> io::Result<Self> {
        let mut stream = BufReader::new(UnixStream::connect(socket).await?);
        greet(&mut stream).await?;
        let (asks, questions) = unbounded_channel();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, questions).await {
                log::debug!("no more from systemd: {error}");
            }
        });
        Ok(Self(asks))
    }

    pub(super) fn is_broken(&self) -> bool {
        self.0.is_closed()
    }

    /// Sends the query immediately, even if the answer is awaited later.
    pub(super) fn ask(&self, call: &Call<'_>, until: Until) -> impl Future<Output = io::Result<Answer<(Message, Told)>>> + use<> {
        let (asks, answer) = oneshot::channel();
        // If the connection is gone, the query is dropped, and so is the sender of its answer.
        let _ = self.0.send(Question { path: call.path.to_owned(), call: call.encoded(), until, asks });
        async { answer.await.map_err(|_| io::ErrorKind::BrokenPipe.into()) }
    }
}

async fn greet(stream: &mut BufReader<UnixStream>) -> io::Result<()> {
    let uid: String = nix::unistd::geteuid().to_string().bytes().map(|digit| format!("{digit:x}")).collect();
    // The greeting is sent in one piece, and a call only after the answer to it. What PID 1 reads together with `BEGIN`
    // stays unprocessed until more arrives; on one processor, that would happen to every call sent right after `BEGIN`.
    stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes()).await?;
    // Reads exactly one line: signals caused by other clients may follow immediately.
    let mut said = Vec::new();
    stream.read_until(b'\n', &mut said).await?;
    if said.starts_with(b"OK ") { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Sends queries and distributes incoming messages, as long as a handle to this connection exists.
async fn serve(stream: impl AsyncRead + AsyncWrite, mut questions: UnboundedReceiver<Question>) -> io::Result<()> {
    let (reader, mut writer) = split(stream);
    let mut messages = pin!(try_unfold(reader, async |mut reader| Ok::<_, io::Error>(Some((receive(&mut reader).await?, reader)))));
    let mut open = Open::default();
    let mut asked = Vec::new();
    loop {
        select! {
            count = questions.recv_many(&mut asked, AT_ONCE) => {
                if count == 0 {
                    return Ok(());
                }
                let calls: Vec<u8> = asked.drain(..).flat_map(|question| open.number(question)).collect();
                writer.write_all(&calls).await?;
            }
            message = messages.next() => open.take(message.ok_or(io::ErrorKind::UnexpectedEof)??)?,
        }
    }
}

async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Message> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await?;
    let mut body = vec![0; rest(&head)?];
    stream.read_exact(&mut body).await?;
    Message::decode(&head, &body).ok_or_else(malformed)
}

/// Queries that have not been answered yet.
#[derive(Debug, Default)]
struct Open {
    serial: u32,
    calls: BTreeMap<u32, (Until, String, Asks)>,
    jobs: BTreeMap<String, Asks>,
    /// Jobs that ended before the reply that names them.
    ended: BTreeMap<String, Message>,
    /// Notifications, by the path of each queried object.
    told: BTreeMap<String, Told>,
}

impl Open {
    fn number(&mut self, question: Question) -> Vec<u8> {
        self.serial += 1;
        self.told.entry(question.path.clone()).or_default();
        self.calls.insert(self.serial, (question.until, question.path, question.asks));
        numbered(question.call, self.serial)
    }

    /// A caller that no longer waits is skipped.
    fn take(&mut self, message: Message) -> io::Result<()> {
        match message.kind {
            REPLY | ERROR => {
                let Some((until, path, asks)) = self.calls.remove(&message.answers) else { return Ok(()) };
                if message.kind == ERROR {
                    let said = message.reader().text().unwrap_or("it did not say why").to_owned();
                    let _ = asks.send(Err(said));
                } else if until == Until::Reply {
                    let _ = asks.send(Ok((message, self.told.get(&path).cloned().unwrap_or_default())));
                } else {
                    let job = message.reader().text().ok_or_else(malformed)?.to_owned();
                    match self.ended.remove(&job) {
                        Some(removed) => drop(asks.send(Ok((removed, Told::new())))),
                        None => drop(self.jobs.insert(job, asks)),
                    }
                }
            }
            SIGNAL if message.member == "JobRemoved" => {
                let mut reader = message.reader();
                let (_id, job) = (reader.number(), reader.text().ok_or_else(malformed)?.to_owned());
                match self.jobs.remove(&job) {
                    Some(asks) => drop(asks.send(Ok((message, Told::new())))),
                    None => drop(self.ended.insert(job, message)),
                }
            }
            SIGNAL if message.member == "PropertiesChanged" => {
                if let Some(told) = self.told.get_mut(&message.path) {
                    let mut reader = message.reader();
                    let _interface = reader.text().ok_or_else(malformed)?;
                    told.extend(reader.properties(PROPERTIES).ok_or_else(malformed)?);
                }
            }
            _ => {}
        }
        // The remaining jobs are other clients': every reply that could have named them has arrived.
        if self.calls.values().all(|(until, ..)| *until == Until::Reply) {
            self.ended.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;
    use tokio::net::UnixListener;

    use super::super::wire::tests::{changed, message};
    use super::*;

    /// A PID 1 that accepts one client, notifies it of another client's job, receives `calls` calls, and then sends
    /// `messages`.
    pub(in crate::host::units) async fn systemd(listener: UnixListener, calls: usize, messages: Vec<Vec<u8>>) -> Vec<Message> {
        let (stream, _) = listener.accept().await.unwrap();
        let mut client = BufReader::new(stream);
        let mut greeting = Vec::new();
        while !greeting.ends_with(b"\r\nBEGIN\r\n") {
            assert_ne!(client.read_buf(&mut greeting).await.unwrap(), 0, "{greeting:?}");
        }
        assert!(greeting.starts_with(b"\0AUTH EXTERNAL 3"), "{greeting:?}");
        let more = client.get_ref().try_read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(more, Err(io::ErrorKind::WouldBlock), "a call together with what leads to it");
        let greeted = [b"OK 0123456789abcdef\r\n".to_vec(), removed("/job/0", "done")].concat();
        client.write_all(&greeted).await.unwrap();
        let mut heard = Vec::new();
        for _ in 0..calls {
            heard.push(receive(&mut client).await.unwrap());
        }
        client.write_all(&messages.concat()).await.unwrap();
        heard
    }

    pub(in crate::host::units) fn listening() -> (TempDir, PathBuf, UnixListener) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("private");
        let listener = UnixListener::bind(&socket).unwrap();
        (directory, socket, listener)
    }

    /// The signal about a removed job: its number, object, unit and result.
    pub(in crate::host::units) fn removed(job: &str, result: &str) -> Vec<u8> {
        message(SIGNAL, 0, "JobRemoved", Some(1), &[job, "x.service", result])
    }

    fn call(member: &str) -> Call<'_> {
        Call { path: "/", interface: "i.f", member, arguments: &[] }
    }

    fn result(answer: io::Result<Answer<(Message, Told)>>) -> String {
        let (message, _) = answer.unwrap().unwrap();
        let mut reader = message.reader();
        if message.kind == SIGNAL {
            let _ = (reader.number(), reader.text(), reader.text());
        }
        reader.text().unwrap().to_owned()
    }

    #[tokio::test]
    async fn everybody_gets_what_was_asked_for_in_whatever_order_it_comes() {
        let (_directory, socket, listener) = listening();
        let ask = async {
            let connection = Connection::open(&socket).await.unwrap();
            let (first, second) = (connection.ask(&call("A"), Until::JobRemoved), connection.ask(&call("B"), Until::JobRemoved));
            drop(connection.ask(&call("C"), Until::Reply));
            let third = connection.ask(&call("D"), Until::Reply);
            futures_util::join!(first, second, third)
        };
        let messages = vec![
            removed("/job/2", "failed"),
            message(REPLY, 4, "", None, &["four"]),
            message(REPLY, 3, "", None, &["three"]),
            message(REPLY, 2, "", None, &["/job/2"]),
            message(REPLY, 1, "", None, &["/job/1"]),
            removed("/job/1", "done"),
        ];
        let ((first, second, third), heard) = futures_util::join!(ask, systemd(listener, 4, messages));
        assert_eq!((result(first), result(second), result(third)), ("done".into(), "failed".into(), "four".into()));
        let members: Vec<&str> = heard.iter().map(|call| call.member.as_str()).collect();
        assert_eq!(members, ["A", "B", "C", "D"]);
    }

    #[tokio::test]
    async fn what_is_told_of_an_object_comes_with_the_answers_about_it() {
        let (_directory, socket, listener) = listening();
        let ask = async {
            let connection = Connection::open(&socket).await.unwrap();
            let of = |path: &'static str| Call { path, interface: "i.f", member: "A", arguments: &[] };
            let (first, second) = (connection.ask(&of("/unit/a"), Until::Reply), connection.ask(&of("/unit/a"), Until::Reply));
            let (first, second) = futures_util::join!(first, second);
            (first.unwrap().unwrap().1, second.unwrap().unwrap().1)
        };
        let messages = vec![
            message(REPLY, 1, "", None, &["one"]),
            changed("/unit/a", &[("Result", "success"), ("Nobody asks", "for this")]),
            changed("/unit/b", &[("Result", "exit-code")]),
            changed("/unit/a", &[("ConditionResult", "no")]),
            message(REPLY, 2, "", None, &["two"]),
        ];
        let ((first, second), _) = futures_util::join!(ask, systemd(listener, 2, messages));
        assert_eq!(first, Told::new());
        let told = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(second, Told::from([told("Result", "success"), told("ConditionResult", "no")]));
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_on_a_connection_that_is_gone() {
        for end in [b"".to_vec(), b"what is this, a message?".to_vec()] {
            let (_directory, socket, listener) = listening();
            let ask = async {
                let connection = Connection::open(&socket).await.unwrap();
                let answer = connection.ask(&call("A"), Until::Reply).await;
                let later = connection.ask(&call("B"), Until::Reply).await;
                (answer.is_err(), later.is_err(), connection.is_broken())
            };
            let (ended, _) = futures_util::join!(ask, systemd(listener, 1, vec![end]));
            assert_eq!(ended, (true, true, true));
        }
    }
}
