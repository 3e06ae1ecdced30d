//! The start of a connection to MySQL or MariaDB, up to the answer to a first query.
//!
//! The server speaks first. Passwords are sent as scrambles of `mysql_native_password` or `caching_sha2_password`. If
//! the server asks for the password itself, it gets it only if its certificate is trusted. Encrypting it with the
//! server's own public key, as other clients do, does not help: a man in the middle would send his own key.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>.

use mysql_common::auth::plugins::caching_sha2_password::scramble_sha256;
use mysql_common::auth::plugins::mysql_native_password::scramble_native;
use mysql_common::constants::{CapabilityFlags, MAX_PAYLOAD_LEN};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, ErrPacket, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::{MyDeserialize, MySerialize};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::refusal::{Refusal, Said, Verdict};
use super::target::{Login, Server, Target, Tls};
use super::tls::{self, Roots};
use super::wire::{Trust, Wire, recognised};

/// First bytes of packets.
const OK: u8 = 0x00;
const MORE: u8 = 0x01;
const SWITCH: u8 = 0xfe;
const ERROR: u8 = 0xff;
/// The protocol version since 1998.
const GREETING: u8 = 10;

/// The bytes after `MORE` for `caching_sha2_password`.
const KNOWN: u8 = 3;
const IN_FULL: u8 = 4;

/// `COM_QUERY` with the shortest query: a pooler accepts logins by itself, but needs its database for a query.
const QUERY: &[u8] = b"\x03SELECT 1";

/// The end of the columns and of the rows. A longer packet with the same first byte is data.
const END: u8 = 0xfe;
const END_BELOW: usize = 9;

/// `COM_QUIT`, as a packet.
const QUIT: [u8; 5] = [1, 0, 0, 0, 1];

/// The longest packet before the login is complete. Only a user or database name that no server has would need a longer
/// one.
const LONGEST: usize = 1 << 16;

/// `utf8mb4_general_ci`.
const CHARACTER_SET: u8 = 45;

/// The prefix of the version in MariaDB 10.2.4 and later, for replicas that accept no version above 5.
const OLD_REPLICAS: &str = "5.5.5-";

/// The numbered packets of a connection.
struct Packets {
    wire: Wire,
    number: u8,
}

pub(super) async fn knock(stream: TcpStream, target: &Target, roots: &Roots) -> Result<Server, Refusal> {
    let mut packets = Packets { wire: Wire::new(stream, target.at()), number: 0 };
    let greeting = packets.receive().await?;
    let greeting = match greeting.first() {
        Some(&GREETING) => HandshakePacket::deserialize((), &mut ParseBuf(&greeting)).map_err(|_| malformed(&packets.wire))?,
        Some(&ERROR) => return Err(said(&packets.wire, &greeting, CapabilityFlags::empty())),
        _ => return Err(malformed(&packets.wire)),
    };
    let version = greeting.server_version_str();
    let version = Some(version.strip_prefix(OLD_REPLICAS).unwrap_or(&version).to_owned());
    let offers_tls = greeting.capabilities().contains(CapabilityFlags::CLIENT_SSL);
    let wants_tls = match target.tls {
        Tls::Disable => false,
        Tls::Prefer => offers_tls && target.login.is_some(),
        Tls::Require | Tls::Verify if !offers_tls => return Err(Refusal::NoTls { at: target.at() }),
        Tls::Require | Tls::Verify => true,
    };
    let capabilities = capabilities(&greeting, target, wants_tls);
    if wants_tls {
        packets.send(&SslRequest::new(capabilities, MAX_PAYLOAD_LEN as u32, CHARACTER_SET)).await?;
        packets.wire = tls::encrypt(packets.wire, target, roots).await?;
    }
    match &target.login {
        Some(login) => {
            // Any server can accept a scramble, so only a verified server has checked the password.
            let checked_password = packets.wire.trust == Trust::Verified;
            log_in(packets, login, &greeting, capabilities).await.map(|()| Server { version, checked_password })
        }
        None => Ok(Server { version, checked_password: false }),
    }
}

/// The capabilities a login needs that both sides have.
fn capabilities(greeting: &HandshakePacket<'_>, target: &Target, tls: bool) -> CapabilityFlags {
    let mut ours = CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
    ours.set(CapabilityFlags::CLIENT_SSL, tls);
    ours.set(CapabilityFlags::CLIENT_CONNECT_WITH_DB, target.login.as_ref().is_some_and(|login| login.database.is_some()));
    ours & greeting.capabilities()
}

async fn log_in(mut packets: Packets, login: &Login, greeting: &HandshakePacket<'_>, capabilities: CapabilityFlags) -> Result<(), Refusal> {
    // The server's default method may not apply to this user, so an unknown one is not an error: the server later names
    // the user's method.
    let mut plugin = match greeting.auth_plugin() {
        Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
        _ => AuthPlugin::MysqlNativePassword,
    };
    let scrambled = scramble(&packets.wire, &plugin, &greeting.nonce(), login)?;
    let database = login.database.as_ref().map(|database| database.expose().as_bytes());
    let response = HandshakeResponse::new(
        Some(scrambled.as_slice()),
        (8, 0, 0),
        Some(login.user.expose().as_bytes()),
        database,
        Some(plugin.clone()),
        capabilities,
        None,
        MAX_PAYLOAD_LEN as u32,
    );
    packets.send(&response).await?;
    loop {
        let answer = packets.receive().await?;
        let reply = match answer.as_slice() {
            [OK, ..] => return query(packets, capabilities).await,
            [ERROR, ..] => return Err(said(&packets.wire, &answer, capabilities)),
            [SWITCH, _, ..] => {
                let switch = AuthSwitchRequest::deserialize((), &mut ParseBuf(&answer)).map_err(|_| malformed(&packets.wire))?;
                plugin = switch.auth_plugin().into_owned();
                scramble(&packets.wire, &plugin, switch.plugin_data(), login)?
            }
            [MORE, KNOWN] if plugin == AuthPlugin::CachingSha2Password => continue,
            [MORE, IN_FULL] if plugin == AuthPlugin::CachingSha2Password => readable(&packets.wire, login)?,
            _ => return Err(malformed(&packets.wire)),
        };
        packets.send_bytes(&reply).await?;
    }
}

/// Requests a row and reads to its end: the column and the row itself, each followed by an end packet.
async fn query(mut packets: Packets, capabilities: CapabilityFlags) -> Result<(), Refusal> {
    packets.number = 0;
    packets.send_bytes(QUERY).await?;
    let mut ends = 0;
    while ends < 2 {
        match packets.receive().await?.as_slice() {
            [END, rest @ ..] if rest.len() + 1 < END_BELOW => ends += 1,
            answer @ [ERROR, ..] => return Err(said(&packets.wire, answer, capabilities)),
            _ => {}
        }
    }
    packets.wire.close(&QUIT).await;
    Ok(())
}

/// The scramble that proves to the server that we know the password.
fn scramble(wire: &Wire, plugin: &AuthPlugin<'_>, nonce: &[u8], login: &Login) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let password = login.password.expose().as_bytes();
    let nonce: &[u8; 20] = nonce.get(..20).and_then(|nonce| nonce.try_into().ok()).unwrap_or(&[0; 20]);
    Ok(Zeroizing::new(match plugin {
        AuthPlugin::MysqlNativePassword => scramble_native(nonce, password).map(Vec::from).unwrap_or_default(),
        AuthPlugin::CachingSha2Password => scramble_sha256(nonce, password).map(Vec::from).unwrap_or_default(),
        AuthPlugin::MysqlClearPassword | AuthPlugin::Sha256Password => return readable(wire, login),
        other => {
            let method = String::from_utf8_lossy(other.as_bytes()).into_owned();
            return Err(Refusal::Method { at: wire.at().into(), method });
        }
    }))
}

/// The password itself, for a server whose certificate is trusted.
fn readable(wire: &Wire, login: &Login) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    if wire.trust != Trust::Verified {
        return Err(Refusal::Readable { at: wire.at().into(), open: wire.trust == Trust::Open });
    }
    let mut password = Zeroizing::new(Vec::with_capacity(login.password.expose().len() + 1));
    password.extend_from_slice(login.password.expose().as_bytes());
    password.push(0);
    Ok(password)
}

impl Packets {
    /// The next packet, without its header.
    async fn receive(&mut self) -> Result<Vec<u8>, Refusal> {
        self.wire.read_at_least(4).await?;
        let head = &self.wire.buffer[..4];
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        if length == 0 || length > LONGEST || head[3] != self.number {
            return Err(self.wire.odd(format!("speaks {}", recognised(&self.wire.buffer))));
        }
        self.number = self.number.wrapping_add(1);
        self.wire.read_at_least(4 + length).await?;
        let packet = self.wire.buffer.split_to(4 + length);
        Ok(packet[4..].to_vec())
    }

    async fn send(&mut self, packet: &impl MySerialize) -> Result<(), Refusal> {
        let mut bytes = Zeroizing::new(Vec::new());
        packet.serialize(&mut bytes);
        self.send_bytes(&bytes).await
    }

    async fn send_bytes(&mut self, payload: &[u8]) -> Result<(), Refusal> {
        let [low, middle, high, ..] = payload.len().to_le_bytes();
        let mut packet = Zeroizing::new(Vec::with_capacity(4 + payload.len()));
        packet.extend_from_slice(&[low, middle, high, self.number]);
        packet.extend_from_slice(payload);
        self.number = self.number.wrapping_add(1);
        self.wire.send(packet).await
    }
}

fn malformed(wire: &Wire) -> Refusal {
    wire.odd("sends an unexpected message")
}

fn said(wire: &Wire, packet: &[u8], capabilities: CapabilityFlags) -> Refusal {
    match ErrPacket::deserialize(capabilities, &mut ParseBuf(packet)) {
        Ok(ErrPacket::Error(error)) => {
            let code = error.error_code();
            let message = error.message_str();
            // Some servers send a SQLSTATE even before the capabilities are known.
            let message = message.strip_prefix('#').and_then(|rest| rest.get(5..)).unwrap_or(&message).to_owned();
            let (at, open) = (wire.at().into(), wire.trust == Trust::Open);
            Refusal::Said(Said { at, verdict: Verdict::of_mysql(code), code: code.to_string(), message, open })
        }
        _ => malformed(wire),
    }
}
