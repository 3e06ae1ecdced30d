//! The start of a PostgreSQL connection, up to the answer to a first query.
//!
//! Source: <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>.

use std::io;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::refusal::{Refusal, Said, Verdict};
use super::scram::{Proven, Scram};
use super::target::{Login, Server, Target, Tls};
use super::tls::{self, Roots};
use super::wire::{Trust, Wire, recognised};

/// The user name sent when there are no credentials. The connection is closed before any login.
const NOBODY: &str = "ingot";

/// The shortest query: a pooler accepts logins by itself, but needs its database for a query.
const QUERY: &str = "SELECT 1";

const SCRAM: &str = "SCRAM-SHA-256";

/// `database` is the one to log in to.
pub(super) async fn knock(stream: TcpStream, target: &Target, database: &str, roots: &Roots) -> Result<Server, Refusal> {
    let wire = Wire::new(stream, target.at());
    let mut wire = if target.tls == Tls::Disable { wire } else { ask_for_tls(wire, target, roots).await? };
    let user = target.login.as_ref().map_or(NOBODY, |login| login.user.expose());
    let parameters = [("user", user), ("database", database), ("application_name", "ingot")];
    let hello = written(&wire, |out| frontend::startup_message(parameters, out))?;
    wire.send(hello).await?;
    match &target.login {
        Some(login) => log_in(wire, login).await,
        None => answered(wire).await,
    }
}

/// Requests TLS, and uses it if the server agrees.
async fn ask_for_tls(mut wire: Wire, target: &Target, roots: &Roots) -> Result<Wire, Refusal> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    wire.send(Zeroizing::new(request.to_vec())).await?;
    wire.read().await?;
    match wire.buffer.as_ref() {
        b"S" => tls::encrypt(wire, target, roots).await,
        b"N" if target.tls == Tls::Prefer => {
            wire.buffer.clear();
            Ok(wire)
        }
        b"N" => Err(Refusal::NoTls { at: target.at() }),
        // A server that cannot start a process for the connection reports that before anything else.
        [b'E', ..] => match next(&mut wire).await? {
            Message::ErrorResponse(body) => Err(said(&wire, &body)),
            _ => Err(wire.odd("something else")),
        },
        // Bytes after an "S" were injected by a man in the middle.
        first => Err(wire.odd(format!("speaks {}", recognised(first)))),
    }
}

/// Whether the server accepts connections: it asks for a password, or returns an error other than "not yet".
async fn answered(mut wire: Wire) -> Result<Server, Refusal> {
    match next(&mut wire).await? {
        Message::ErrorResponse(body) => match said(&wire, &body) {
            Refusal::Said(said) if said.verdict.may_pass() => Err(Refusal::Said(said)),
            _ => Ok(Server::default()),
        },
        _ => {
            wire.close(&terminate()).await;
            Ok(Server::default())
        }
    }
}

async fn log_in(mut wire: Wire, login: &Login) -> Result<Server, Refusal> {
    let mut authentication = Authentication { login, scram: None, proven: None, sent: false };
    let mut version = None;
    loop {
        match next(&mut wire).await? {
            Message::BackendKeyData(_) | Message::NoticeResponse(_) => {}
            Message::ParameterStatus(body) => {
                if body.name().is_ok_and(|name| name == "server_version") {
                    // Debian's packages append their own version.
                    version = body.value().ok().and_then(|value| value.split(' ').next()).map(str::to_owned);
                }
            }
            Message::ReadyForQuery(_) => break,
            Message::ErrorResponse(body) => return Err(said(&wire, &body)),
            message => {
                if let Some(answer) = authentication.answer(message, &wire)? {
                    wire.send(answer).await?;
                }
            }
        }
    }
    query(&mut wire).await?;
    wire.close(&terminate()).await;
    Ok(Server { version, checked_password: authentication.sent })
}

/// Requests a row and reads to its end.
async fn query(wire: &mut Wire) -> Result<(), Refusal> {
    let query = written(wire, |out| frontend::query(QUERY, out))?;
    wire.send(query).await?;
    let mut has_row = false;
    loop {
        match next(wire).await? {
            Message::DataRow(_) => has_row = true,
            Message::ReadyForQuery(_) if has_row => return Ok(()),
            Message::ErrorResponse(body) => return Err(said(wire, &body)),
            Message::RowDescription(_) | Message::CommandComplete(_) | Message::NoticeResponse(_) | Message::ParameterStatus(_) => {}
            _ => return Err(malformed(wire)),
        }
    }
}

/// A login in progress.
struct Authentication<'a> {
    login: &'a Login,
    scram: Option<Scram>,
    proven: Option<Proven>,
    /// Whether the server has received the password in any form.
    sent: bool,
}

impl Authentication<'_> {
    /// The answer to a message of the login. `None` if the message needs no answer.
    fn answer(&mut self, message: Message, wire: &Wire) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
        let password = self.login.password.expose().as_bytes();
        let answer = match message {
            Message::AuthenticationCleartextPassword if wire.trust == Trust::Verified => {
                self.sent = true;
                written(wire, |out| frontend::password_message(password, out))?
            }
            Message::AuthenticationCleartextPassword => {
                return Err(Refusal::Readable { at: wire.at().into(), open: wire.trust == Trust::Open });
            }
            Message::AuthenticationMd5Password(_) if wire.trust != Trust::Verified => {
                return Err(Refusal::Guessable { at: wire.at().into() });
            }
            Message::AuthenticationMd5Password(body) => {
                self.sent = true;
                let hash = Zeroizing::new(md5_hash(self.login.user.expose().as_bytes(), password, body.salt()));
                written(wire, |out| frontend::password_message(hash.as_bytes(), out))?
            }
            Message::AuthenticationSasl(body) => {
                let offered: Vec<String> = body.mechanisms().map(|name| Ok(name.to_owned())).collect().map_err(|_| malformed(wire))?;
                if !offered.iter().any(|name| name == SCRAM) {
                    return Err(Refusal::Method { at: wire.at().into(), method: offered.join(", ") });
                }
                let begun = Scram::new().map_err(|why| wire.odd(why))?;
                let first = begun.first();
                self.scram = Some(begun);
                written(wire, |out| frontend::sasl_initial_response(SCRAM, &first, out))?
            }
            Message::AuthenticationSaslContinue(body) => {
                let begun = self.scram.take().ok_or_else(|| malformed(wire))?;
                let proof = begun.answer(body.data(), password).map_err(|why| wire.odd(why))?;
                let answer = written(wire, |out| frontend::sasl_response(&proof.message, out))?;
                self.proven = Some(proof);
                self.sent = true;
                answer
            }
            Message::AuthenticationSaslFinal(body) => match self.proven.take() {
                Some(proof) if proof.is_answered_by(body.data()) => return Ok(None),
                _ => return Err(Refusal::Impostor { at: wire.at().into() }),
            },
            // Any server could say so before it has proved that it knows the password too.
            Message::AuthenticationOk if self.scram.is_some() || self.proven.is_some() => {
                return Err(Refusal::Impostor { at: wire.at().into() });
            }
            // A verified server may not need the password; an acceptance by any other server proves nothing.
            Message::AuthenticationOk if !self.sent && wire.trust != Trust::Verified => {
                return Err(Refusal::Unasked { at: wire.at().into() });
            }
            Message::AuthenticationOk => return Ok(None),
            Message::AuthenticationGss | Message::AuthenticationSspi | Message::AuthenticationKerberosV5 => {
                return Err(Refusal::Method { at: wire.at().into(), method: "GSSAPI".into() });
            }
            _ => return Err(malformed(wire)),
        };
        Ok(Some(answer))
    }
}

/// The next message.
async fn next(wire: &mut Wire) -> Result<Message, Refusal> {
    loop {
        match Message::parse(&mut wire.buffer) {
            Ok(Some(message)) => return Ok(message),
            Ok(None) => wire.read().await?,
            Err(_) => return Err(wire.odd(format!("speaks {}", recognised(&wire.buffer)))),
        }
    }
}

fn malformed(wire: &Wire) -> Refusal {
    wire.odd("sends an unexpected message")
}

fn written(wire: &Wire, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let mut out = BytesMut::new();
    write(&mut out).map_err(|_| Refusal::Nul { at: wire.at().into() })?;
    let sent = Zeroizing::new(out.to_vec());
    out.fill(0);
    Ok(sent)
}

fn terminate() -> Vec<u8> {
    let mut out = BytesMut::new();
    frontend::terminate(&mut out);
    out.to_vec()
}

fn said(wire: &Wire, body: &ErrorResponseBody) -> Refusal {
    let (mut code, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = value(),
            b'M' => message = value(),
            _ => {}
        }
    }
    let (at, open) = (wire.at().into(), wire.trust == Trust::Open);
    Refusal::Said(Said { at, verdict: Verdict::of_postgres(&code, &message), code, message, open })
}
