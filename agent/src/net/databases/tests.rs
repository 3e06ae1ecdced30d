//! Small servers on loopback: how their answers are interpreted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use super::*;
use crate::failure::Failure;
use crate::host::files::DiskFiles;

/// A server that answers its `n`th connection with the `n`th script, and all further ones with the last.
fn serve(script: impl Fn(&mut TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            script(&mut stream);
            // Closing a socket with unread data resets the connection.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    port
}

fn target(engine: Engine, port: u16, tls: Tls) -> Target {
    let login = Login { user: "shop".into(), password: "hunter2".into(), database: None };
    Target { host: "127.0.0.1".into(), port, engine, tls, ca: None, login: Some(login) }
}

async fn knock(target: &Target) -> Result<Server, Refusal> {
    NetDatabases::new(Rc::new(DiskFiles::new(None))).knock(target).await
}

fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let length = stream.read(&mut bytes).unwrap_or(0);
    bytes.truncate(length);
    bytes
}

fn of_postgres(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], &length[..], body].concat()
}

fn of_mysql(number: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&length[..3], &[number], body].concat()
}

/// The greeting of a current MySQL server without TLS.
fn greeting(plugin: &str) -> Vec<u8> {
    let capabilities: u32 = 0x000b_f7ff & !0x0800 | 0x0008_0000 | 0x0020_0000;
    let [low, high, upper, most] = capabilities.to_le_bytes();
    let body = [
        &[10][..],
        b"8.4.2\0",
        &[1, 0, 0, 0],
        b"12345678\0",
        &[low, high, 45, 2, 0, upper, most, 21],
        &[0; 10],
        b"123456789012\0",
        plugin.as_bytes(),
        b"\0",
    ];
    of_mysql(0, &body.concat())
}

/// Answers the `SELECT 1` of a MySQL client.
fn answer_mysql(stream: &mut TcpStream) {
    assert_eq!(read(stream), b"\x09\0\0\0\x03SELECT 1");
    let end = b"\xfe\0\0\x02\0";
    let column = b"\x03def\0\0\0\x011\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";
    let packets: [&[u8]; 5] = [b"\x01", column, end, b"\x011", end];
    let answer: Vec<u8> = packets.iter().zip(1..).flat_map(|(packet, number)| of_mysql(number, packet)).collect();
    stream.write_all(&answer).unwrap();
}

/// PostgreSQL's `AuthenticationOk`, its version, and `ReadyForQuery`.
fn welcome() -> Vec<u8> {
    [of_postgres(b'R', &[0; 4]), of_postgres(b'S', b"server_version\x0015.8 (Debian)\0"), of_postgres(b'Z', b"I")].concat()
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refusal = knock(&target(Engine::Postgres, port, Tls::Prefer)).await.unwrap_err();
    assert_eq!(refusal, Refusal::Refused { at: format!("127.0.0.1:{port}") });
    assert!(refusal.is_transient());
}

#[tokio::test]
async fn a_server_that_hangs_up_is_tried_again() {
    let port = serve(|_| {});
    for engine in [Engine::Postgres, Engine::Mysql] {
        let refusal = knock(&target(engine, port, Tls::Prefer)).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Broken { .. }) && refusal.is_transient(), "{refusal}");
    }
}

/// As from PostgreSQL before it starts a process for the connection.
#[tokio::test]
async fn an_error_in_place_of_an_answer_to_tls_is_read() {
    let port = serve(|stream| {
        read(stream);
        stream.write_all(&of_postgres(b'E', b"SFATAL\0C57P03\0Mthe database system is starting up\0\0")).unwrap();
    });
    let refusal = knock(&target(Engine::Postgres, port, Tls::Prefer)).await.unwrap_err();
    assert_eq!(refusal.verdict(), Some(Verdict::Starting));
    assert_eq!(
        refusal.to_string(),
        format!("127.0.0.1:{port} is starting up or shutting down (57P03: the database system is starting up)")
    );
}

/// CVE-2021-23222: bytes after the "S" were injected by a man in the middle.
#[tokio::test]
async fn nothing_is_taken_that_came_before_tls() {
    let port = serve(|stream| {
        read(stream);
        stream.write_all(&[b"S", &of_postgres(b'R', &[0; 4])[..]].concat()).unwrap();
    });
    let refusal = knock(&target(Engine::Postgres, port, Tls::Prefer)).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Other { .. }), "{refusal}");
}

#[tokio::test]
async fn a_server_that_does_not_prove_that_it_knows_the_password_is_an_impostor() {
    for last in [&b"v=AAAA"[..], b""] {
        let last = last.to_vec();
        let port = serve(move |stream| {
            read(stream);
            stream.write_all(&of_postgres(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")).unwrap();
            let hello = read(stream);
            let nonce = String::from_utf8_lossy(&hello).split("r=").nth(1).unwrap().to_owned();
            let challenge = format!("\0\0\0\x0br={nonce}more,s=AAAA,i=1");
            stream.write_all(&of_postgres(b'R', challenge.as_bytes())).unwrap();
            read(stream);
            let end = if last.is_empty() { Vec::new() } else { of_postgres(b'R', &[b"\0\0\0\x0c", &last[..]].concat()) };
            stream.write_all(&[end, of_postgres(b'R', &[0; 4]), of_postgres(b'Z', b"I")].concat()).unwrap();
        });
        let refusal = knock(&target(Engine::Postgres, port, Tls::Disable)).await.unwrap_err();
        assert_eq!(refusal, Refusal::Impostor { at: format!("127.0.0.1:{port}") });
    }
}

#[tokio::test]
async fn a_nul_in_a_login_is_not_the_servers_fault() {
    let port = serve(|stream| drop(read(stream)));
    let login = Login { user: "shop\0".into(), password: "hunter2".into(), database: None };
    let refusal = knock(&Target { login: Some(login), ..target(Engine::Postgres, port, Tls::Disable) }).await.unwrap_err();
    assert_eq!(refusal, Refusal::Nul { at: format!("127.0.0.1:{port}") });
    assert!(!refusal.is_transient() && refusal.hint().unwrap().contains("the secret"));
}

#[tokio::test]
async fn a_login_without_a_password_proves_nothing() {
    let port = serve(|stream| {
        if read(stream)[4..8] == *b"\x04\xd2\x16\x2f" {
            stream.write_all(b"N").unwrap();
            read(stream);
        }
        stream.write_all(&welcome()).unwrap();
    });
    for tls in [Tls::Prefer, Tls::Disable] {
        let refusal = knock(&target(Engine::Postgres, port, tls)).await.unwrap_err();
        assert_eq!(refusal, Refusal::Unasked { at: format!("127.0.0.1:{port}") });
        assert!(!refusal.is_transient() && refusal.hint().unwrap().contains("`tls: verify`"));
    }
}

#[tokio::test]
async fn nobody_unverified_gets_a_hash_by_md5() {
    let (sender, received) = std::sync::mpsc::channel();
    let port = serve(move |stream| {
        read(stream);
        stream.write_all(&of_postgres(b'R', b"\0\0\0\x05salt")).unwrap();
        sender.send(read(stream)).unwrap();
    });
    let refusal = knock(&target(Engine::Postgres, port, Tls::Disable)).await.unwrap_err();
    assert_eq!(refusal, Refusal::Guessable { at: format!("127.0.0.1:{port}") });
    assert_eq!(received.recv().unwrap(), b"");
    assert!(refusal.hint().unwrap().contains("SCRAM-SHA-256") && refusal.hint().unwrap().contains("`tls: verify`"));
}

/// Imitates pgbouncer while its database starts: before the login and, once it has seen the database, after it.
#[tokio::test]
async fn a_pooler_is_ready_once_its_database_answers() {
    let starting = || of_postgres(b'E', b"SFATAL\0C08P01\0Mserver login has been failing, try again later (server_login_retry)\0\0");
    for without_login in [true, false] {
        let port = serve(move |stream| {
            read(stream);
            stream.write_all(&starting()).unwrap();
        });
        let mut target = target(Engine::Postgres, port, Tls::Disable);
        target.login = target.login.filter(|_| !without_login);
        let refusal = knock(&target).await.unwrap_err();
        assert!(refusal.verdict() == Some(Verdict::Detached) && refusal.is_transient(), "{refusal}");
    }
    let port = serve(|stream| {
        stream.write_all(&greeting("mysql_native_password")).unwrap();
        read(stream);
        stream.write_all(&of_mysql(2, &[0, 0, 0, 2, 0, 0, 0])).unwrap();
        read(stream);
        stream.write_all(&of_mysql(1, b"\xff\x29\x23#HY000Max connect timeout reached while reaching hostgroup 0")).unwrap();
    });
    let refusal = knock(&target(Engine::Mysql, port, Tls::Prefer)).await.unwrap_err();
    assert!(refusal.verdict() == Some(Verdict::Detached) && refusal.is_transient(), "{refusal}");
}

#[tokio::test]
async fn a_login_that_postgres_does_by_another_server_is_named() {
    let port = serve(|stream| {
        read(stream);
        stream.write_all(&of_postgres(b'R', &[0, 0, 0, 7])).unwrap();
    });
    let refusal = knock(&target(Engine::Postgres, port, Tls::Disable)).await.unwrap_err();
    assert_eq!(refusal, Refusal::Method { at: format!("127.0.0.1:{port}"), method: "GSSAPI".into() });
}

#[tokio::test]
async fn mysqls_error_in_place_of_a_greeting_is_read() {
    let port = serve(|stream| stream.write_all(&of_mysql(0, b"\xff\x10\x04#08004Too many connections")).unwrap());
    let refusal = knock(&target(Engine::Mysql, port, Tls::Prefer)).await.unwrap_err();
    assert_eq!(refusal.to_string(), format!("127.0.0.1:{port} has too many connections (1040: Too many connections)"));
    assert!(refusal.is_transient());
}

/// MySQL 8.4: a server that has cached the password's hash accepts the scramble; a fresh one asks for the password
/// itself.
#[tokio::test]
async fn caching_sha2_gets_the_password_itself_from_nobody_who_is_not_sure() {
    let port = serve(|stream| {
        stream.write_all(&greeting("caching_sha2_password")).unwrap();
        let login = read(stream);
        assert!(!login.windows(7).any(|part| part == b"hunter2"));
        stream.write_all(&[of_mysql(2, &[1, 3]), of_mysql(3, &[0, 0, 0, 2, 0, 0, 0])].concat()).unwrap();
        answer_mysql(stream);
    });
    // It is not certain that the database was the one that accepted it.
    let expected = Server { version: Some("8.4.2".into()), checked_password: false };
    assert_eq!(knock(&target(Engine::Mysql, port, Tls::Prefer)).await, Ok(expected));

    let port = serve(|stream| {
        stream.write_all(&greeting("caching_sha2_password")).unwrap();
        read(stream);
        stream.write_all(&of_mysql(2, &[1, 4])).unwrap();
        assert!(!read(stream).windows(7).any(|part| part == b"hunter2"));
    });
    let refusal = knock(&target(Engine::Mysql, port, Tls::Prefer)).await.unwrap_err();
    assert_eq!(refusal, Refusal::Readable { at: format!("127.0.0.1:{port}"), open: true });
    assert!(refusal.hint().unwrap().starts_with("set `tls: verify`"));
}

#[tokio::test]
async fn mysql_may_ask_for_another_scramble_and_for_one_that_we_do_not_have() {
    let port = serve(|stream| {
        stream.write_all(&greeting("caching_sha2_password")).unwrap();
        read(stream);
        stream.write_all(&of_mysql(2, b"\xfemysql_native_password\0abcdefghijklmnopqrst\0")).unwrap();
        assert_eq!(read(stream).len(), 4 + 20);
        stream.write_all(&of_mysql(4, &[0, 0, 0, 2, 0, 0, 0])).unwrap();
        answer_mysql(stream);
    });
    assert!(knock(&target(Engine::Mysql, port, Tls::Prefer)).await.is_ok());
    let port = serve(|stream| {
        stream.write_all(&greeting("mysql_native_password")).unwrap();
        read(stream);
        stream.write_all(&of_mysql(2, b"\xfeclient_ed25519\0abcdefghijklmnopqrstuvwxyzabcdef")).unwrap();
    });
    let refusal = knock(&target(Engine::Mysql, port, Tls::Prefer)).await.unwrap_err();
    assert_eq!(refusal, Refusal::Method { at: format!("127.0.0.1:{port}"), method: "client_ed25519".into() });
}

#[tokio::test]
async fn a_ca_that_cannot_be_read_is_named() {
    let port = serve(|stream| {
        read(stream);
        stream.write_all(b"S").unwrap();
    });
    let ca = Some(Path::new("/etc/hostname").to_owned());
    let refusal = knock(&Target { ca, ..target(Engine::Postgres, port, Tls::Verify) }).await.unwrap_err();
    assert_eq!(refusal.to_string(), "cannot use the certificate authorities in /etc/hostname: it contains no certificate");
}
